/** The embedded engine with the demo model in tests. */
import { tmpdir } from "node:os";
import path from "node:path";
import type { Engine, EngineRequest, EngineRun, PromptBlocks } from "../../gpu-backend/engine/engine.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { startLlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import type { LlamaEngine, LlamaEngineOptions } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { accepted, prose, request, type RunSeen, seen, talkativePrompts, until } from "../conformance/engine-runs.ts";

export { accepted, prose, request, talkativePrompts, until };

export const modelDirectory = path.join(tmpdir(), "warmpath-test-models");

export async function startDemo(changes: Partial<LlamaEngineOptions> = {}): Promise<LlamaEngine> {
  const modelPath = await ensureDemoModel(modelDirectory);
  const engine = await startLlamaEngine({ modelPath, sequences: 3, contextTokens: 1024, queueLimit: 2, ...changes });
  if ("message" in engine) throw new Error(engine.message);
  return engine;
}

/** Of an engine that knows its blocks. */
export interface Outcome extends Omit<RunSeen, "queued"> {
  queued: { promptTokens: number; tokenEnds: Uint32Array; blockKeys: PromptBlocks["blockKeys"] };
}

export async function follow(run: EngineRun): Promise<Outcome> {
  const { queued, ...rest } = await seen(run);
  if (queued.blocks === null) throw new Error("the engine does not say which blocks the prompt has");
  const { tokenEnds, blockKeys } = queued.blocks;
  return { ...rest, queued: { promptTokens: queued.promptTokens, tokenEnds: (await tokenEnds) ?? new Uint32Array(), blockKeys } };
}

export async function complete(engine: Engine, prompt: string, changes: Partial<EngineRequest> = {}): Promise<Outcome> {
  return follow(await accepted(engine, request(prompt, changes)));
}
