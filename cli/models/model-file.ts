/** Whether a file can be a model, as far as its first bytes tell: asked before anything is started for it. */
import { closeSync, openSync, readSync, type Stats, statSync } from "node:fs";
import type { ModelChoice } from "./model-choice.ts";

const MAGIC = "GGUF";

/** What can be known of the choices before anything is started: a sentence, or null. */
export function choiceProblem(choices: readonly ModelChoice[]): string | null {
  for (const choice of choices) {
    const problem = choice.type === "file" ? modelFileProblem(choice.path) : null;
    if (problem !== null) return problem;
  }
  return null;
}

/** Null: it may be one; else a sentence for the user. What is no regular file is left to the engine: opening a pipe would wait for its writer. */
function modelFileProblem(path: string): string | null {
  let found: Stats | undefined;
  try {
    found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) return `There is no model file ${path}. Give --model an existing GGUF file.`;
    if (found.isDirectory()) return `The model ${path} is a folder. Give --model a GGUF file.`;
    if (!found.isFile()) return null;
    const first = firstBytes(path);
    return first === MAGIC ? null : `The model ${path} is not a GGUF file: it does not begin with ${MAGIC}. Give --model a GGUF file.`;
  } catch (error) {
    return `The model ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? "no reason is known"}). Give --model a GGUF file that can.`;
  }
}

function firstBytes(path: string): string {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(MAGIC.length);
    return bytes.toString("latin1", 0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}
