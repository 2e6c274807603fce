/** Drives an engine in tests: requests, and what their runs say. */
import type { Engine, EngineEvent, EngineRequest, EngineRun, TokenLogprob } from "../../gpu-backend/engine/engine.ts";

/** A request's settings when it asks for nothing special. */
export const plainSampling = {
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: new Map<number, number>(),
  logprobs: null,
  grammar: null,
} satisfies Partial<EngineRequest>;

let serial = 0;

/** Greedy, 16 tokens, of an id that no other has in this process. */
export function request(prompt: string, changes: Partial<EngineRequest> = {}): EngineRequest {
  const plain = { salt: "", maxTokens: 16, temperature: 0, topP: 1, seed: 1, stop: [], ...plainSampling };
  return { id: `run-${++serial}`, prompt, ...plain, ...changes };
}

/** Of a rendered prompt. */
export async function tokensOf(engine: Engine, prompt: string, cuts: readonly number[] = []): Promise<number> {
  const counted = await engine.count(prompt, cuts);
  if (counted.type === "refused") throw new Error(counted.message);
  return counted.tokens;
}

/** Text of about three tokens a word, different for every topic. */
export function prose(topic: string, words: number): string {
  return Array.from({ length: words }, (_, i) => `${topic}${i} reads`).join(" ");
}

export async function accepted(engine: Engine, asked: EngineRequest): Promise<EngineRun> {
  const run = await engine.run(asked);
  if (run.type === "refused") throw new Error(run.message);
  return run;
}

export interface RunSeen {
  events: readonly EngineEvent[];
  queued: EngineEvent & { type: "queued" };
  deltas: string[];
  text: string;
  logprobs: TokenLogprob[];
  finished: EngineEvent & { type: "finished" };
}

export async function seen(run: EngineRun): Promise<RunSeen> {
  const events: EngineEvent[] = [];
  for await (const event of run.events) events.push(event);
  const queued = events.find((event) => event.type === "queued");
  const finished = events.find((event) => event.type === "finished");
  if (queued === undefined || finished === undefined) throw new Error("a run is not complete");
  const deltas = events.flatMap((event) => (event.type === "delta" ? [event.text] : []));
  const logprobs = events.flatMap((event) => (event.type === "delta" ? [...(event.logprobs ?? [])] : []));
  return { events, queued, finished, deltas, text: deltas.join(""), logprobs };
}

export async function runOf(engine: Engine, prompt: string, changes: Partial<EngineRequest> = {}): Promise<RunSeen> {
  return seen(await accepted(engine, request(prompt, changes)));
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

/** Prompts after which the model talks for at least `tokens` tokens; random weights end some answers early. */
export async function talkativePrompts(engine: Engine, count: number, tokens: number): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; found.length < count && i < 60; i++) {
    const prompt = prose(`talk${i}`, 12);
    const { finished } = await runOf(engine, prompt, { salt: "talkative", maxTokens: tokens });
    if (finished.reason === "length") found.push(prompt);
  }
  if (found.length < count) throw new Error("the model is not talkative enough");
  return found;
}
