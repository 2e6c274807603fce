/** The mock replicas' own truth: how long a step takes them. The pool never sees these numbers, only reports of the times they make. */

export interface StepWork {
  /** Prompt tokens computed in the step. */
  tokens: number;
  /** Sum over them of the tokens that each attends to. */
  pairs: number;
  /** Sequences that decode one token. */
  decoding: number;
}

export const MOCK_MODEL = "soak-model";

/** An engine that batches continuously (vLLM's default): a step reads the weights once, whatever it computes. */
const STEP_MS = 20;
const MS_PER_TOKEN = 0.05;
const MS_PER_PAIR = 5e-6;
const MS_PER_SEQUENCE = 0.2;
export const STEP_TOKENS = 2_048;
export const BYTES_PER_TOKEN = 4.2;

/** ms, of a replica without noise. */
export function stepMs({ tokens, pairs, decoding }: StepWork, slowness: number): number {
  return slowness * (STEP_MS + MS_PER_TOKEN * tokens + MS_PER_PAIR * pairs + MS_PER_SEQUENCE * decoding);
}

/** ms to the first token of a prompt that nothing is cached of, on an idle replica without noise. */
export function idlePrefillMs(promptTokens: number, slowness: number): number {
  let ms = 0;
  for (let from = 0; from < promptTokens; from += STEP_TOKENS) {
    const tokens = Math.min(STEP_TOKENS, promptTokens - from);
    ms += stepMs({ tokens, pairs: tokens * (from + tokens / 2), decoding: 0 }, slowness);
  }
  return ms;
}

export interface MockTruth {
  /** So many times as slow as its like. */
  slowness: number;
  /** A step takes up to exp(noise) times as long or as short, evenly in the logarithm. */
  noise: number;
}

/** By replica: one of four is three times slower. */
export const FLEET_TRUTH: readonly MockTruth[] = [
  { slowness: 1, noise: 0.3 },
  { slowness: 1, noise: 0.6 },
  { slowness: 3, noise: 0.45 },
  { slowness: 1, noise: 0.45 },
];

export const mockName = (index: number): string => `mock-${index}`;
