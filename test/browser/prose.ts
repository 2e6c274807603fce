/** Long English text to ask about: prose of this repository, without tables and code. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

export async function proseOf(files: readonly string[]): Promise<string> {
  const texts = await Promise.all(files.map((file) => readFile(join(ROOT, file), "utf8")));
  return texts
    .join("\n")
    .replaceAll(/```[^]*?```|^\|.*$|^#.*$|!?\[([^\]]*)\]\([^)]*\)|[`*]/gm, "$1")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trim();
}
