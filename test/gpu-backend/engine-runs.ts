/** Drives an engine in tests: submit, follow, collect. */
import { tmpdir } from "node:os";
import path from "node:path";
import { startLlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import type { LlamaEngine, LlamaEngineOptions } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { request } from "../conformance/engine-request.ts";
import type { Engine, EngineEvent, EngineRequest, EngineRun, PromptBlocks, TokenLogprob } from "../../gpu-backend/engine/engine.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";

export { request };

export const modelDirectory = path.join(tmpdir(), "warmpath-test-models");

export async function startDemo(changes: Partial<LlamaEngineOptions> = {}): Promise<LlamaEngine> {
  const modelPath = await ensureDemoModel(modelDirectory);
  const engine = await startLlamaEngine({ modelPath, sequences: 3, contextTokens: 1024, queueLimit: 2, ...changes });
  if ("message" in engine) throw new Error(engine.message);
  return engine;
}

export async function accepted(engine: Engine, asked: EngineRequest): Promise<EngineRun> {
  const run = await engine.run(asked);
  if (run.type === "refused") throw new Error(run.message);
  return run;
}

export async function until<T extends EngineEvent["type"]>(
  events: AsyncIterator<EngineEvent>,
  type: T,
): Promise<EngineEvent & { type: T }> {
  for (;;) {
    const { value, done } = await events.next();
    if (done === true) throw new Error(`the run ended before "${type}"`);
    const event: EngineEvent = value;
    if (event.type === type) return event as EngineEvent & { type: T };
  }
}

export interface Outcome {
  /** Of an engine that knows its blocks. */
  queued: { promptTokens: number } & PromptBlocks;
  deltas: string[];
  text: string;
  logprobs: TokenLogprob[];
  finished: EngineEvent & { type: "finished" };
}

export async function follow(run: EngineRun): Promise<Outcome> {
  const events: EngineEvent[] = [];
  for await (const event of run.events) events.push(event);
  const queued = events.find((event) => event.type === "queued");
  const finished = events.find((event) => event.type === "finished");
  if (queued === undefined || queued.blocks === null || finished === undefined) throw new Error("a run is not complete");
  const deltas = events.flatMap((event) => (event.type === "delta" ? [event.text] : []));
  const logprobs = events.flatMap((event) => (event.type === "delta" ? [...(event.logprobs ?? [])] : []));
  return { queued: { promptTokens: queued.promptTokens, ...queued.blocks }, finished, deltas, text: deltas.join(""), logprobs };
}

export async function complete(engine: Engine, prompt: string, changes: Partial<EngineRequest> = {}): Promise<Outcome> {
  return follow(await accepted(engine, request(prompt, changes)));
}

/** Text of about three tokens a word, different for every topic. */
export function prose(topic: string, words: number): string {
  return Array.from({ length: words }, (_, i) => `${topic}${i} reads`).join(" ");
}

/** Prompts after which the model talks for at least `tokens` tokens; random weights end some answers early. */
export async function talkativePrompts(engine: Engine, count: number, tokens: number): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; found.length < count && i < 60; i++) {
    const prompt = prose(`talk${i}`, 12);
    const { finished } = await complete(engine, prompt, { salt: "talkative", maxTokens: tokens });
    if (finished.reason === "length") found.push(prompt);
  }
  if (found.length < count) throw new Error("the model is not talkative enough");
  return found;
}
