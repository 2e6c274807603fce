/** Requests as tests make them. */
import type { Engine, EngineRequest } from "../../gpu-backend/engine/engine.ts";

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
