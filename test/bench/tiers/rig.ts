/** What the main process and the peer of `tiers.ts` share: the model, the engine and how a run's first token is timed. */
import { join } from "node:path";
import { ROOT } from "../../../cli/bundle.ts";
import type { EngineRequest, PreparedKv, Restore } from "../../../gpu-backend/engine/engine.ts";
import { type LlamaEngine, startLlamaEngine } from "../../../gpu-backend/engine/llama-cpp/engine.ts";
import { request as plainRequest } from "../../conformance/engine-runs.ts";
import { type DemoShape, ensureDemoModel } from "../../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";

/** 82 million parameters, 87 MB of weights, 12 KiB of KV a token: the largest self-made model that this kind of machine serves well. */
export const SHAPE: DemoShape = {
  layers: 12,
  width: 768,
  heads: 12,
  kvHeads: 4,
  feedForward: 2_048,
  vocabulary: 4_096,
  contextTokens: 32_768,
};
export const CONTEXT_TOKENS = 4_096;

export const modelFile = (): Promise<string> => ensureDemoModel(join(ROOT, "node_modules/.cache/warmpath-bench"), { shape: SHAPE });

/** One sequence, so that any other prompt drives what it holds off the device. */
export async function startEngine(modelPath: string): Promise<LlamaEngine> {
  const engine = await startLlamaEngine({ modelPath, sequences: 1, contextTokens: CONTEXT_TOKENS, queueLimit: 1 });
  if ("type" in engine) throw new Error(engine.message);
  return engine;
}

export function requestFor(prompt: string): EngineRequest {
  return plainRequest(prompt, { maxTokens: 1, seed: 0 });
}

export async function prepare(engine: LlamaEngine, request: EngineRequest): Promise<PreparedKv> {
  const prepared = await engine.kv.exchange.prepare(request);
  if (prepared.type === "refused") throw new Error(prepared.message);
  return prepared;
}

/** Runs it to its end; the time of the first token is the answer's. */
export async function firstToken(
  engine: LlamaEngine,
  request: EngineRequest,
  restore?: Restore,
): Promise<{ atMs: number; cachedTokens: number }> {
  const run = await (restore === undefined ? engine.run(request) : engine.kv.exchange.import(request, restore));
  if (run.type === "refused") throw new Error(run.message);
  let atMs: number | null = null;
  for await (const event of run.events) {
    if (event.type === "delta") atMs ??= performance.now();
    if (event.type !== "finished") continue;
    if (event.reason === "error") throw new Error(event.message ?? "the run failed");
    return { atMs: atMs ?? performance.now(), cachedTokens: event.cachedTokens };
  }
  throw new Error("The run did not finish.");
}
