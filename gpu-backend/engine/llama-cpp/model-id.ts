/** A model's id, as clients write it in requests. */
const MOST = 64;

/** "Smollm2 135M 8k" → "smollm2-135m-8k": lower case letters, digits, dots, underscores and hyphens. */
export function modelId(name: string): string {
  const id = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/-{2,}/g, "-")
    .slice(0, MOST)
    .replaceAll(/^[-.]+|[-.]+$/g, "");
  return id === "" ? "model" : id;
}
