/** `--model`: the models that a start serves, each in pools of its own. */
import { resolve } from "node:path";

export type ModelChoice =
  /** `isDefault`: nobody asked for it by name. */
  | { type: "smollm2"; isDefault: boolean }
  | { type: "tiny" }
  /** `name`: the id that clients use; null: made of the file's own name. */
  | { type: "file"; name: string | null; path: string };

const MODEL_USAGE = "smollm2, tiny, FILE.gguf or NAME=FILE.gguf";

const MOST_MODELS = 16;
const NAMED = /^([0-9A-Za-z._-]{1,64})=(.+)$/s;

/** Throws a RangeError, fit for the user. Undefined: the default. */
export function parseModels(text: string | undefined): ModelChoice[] {
  if (text === undefined) return [{ type: "smollm2", isDefault: true }];
  const given = text.split(",").map((each) => each.trim());
  if (given.includes("")) throw new RangeError(`--model must be ${MODEL_USAGE}, several separated by commas, not ${JSON.stringify(text)}.`);
  const twice = given.find((each, index) => given.indexOf(each) !== index);
  if (twice !== undefined) throw new RangeError(`--model names ${twice} twice. For several pools of one model use --pools.`);
  if (given.length > MOST_MODELS) throw new RangeError(`--model names ${given.length} models; at most ${MOST_MODELS} are possible.`);
  return given.map(parseModel);
}

function parseModel(text: string): ModelChoice {
  if (text === "smollm2") return { type: "smollm2", isDefault: false };
  if (text === "tiny") return { type: "tiny" };
  const [, name, path] = NAMED.exec(text) ?? [];
  if (name !== undefined && path !== undefined) return { type: "file", name, path: resolve(path) };
  return { type: "file", name: null, path: resolve(text) };
}
