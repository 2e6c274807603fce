import type { EngineConstants } from "./constants.ts";

/** What one step computes. */
interface StepWork {
  prefillTokens: number;
  /** Each prefill token times the tokens before it. */
  pairs: number;
  decoding: number;
  /** Of those decoding, together. */
  contextTokens: number;
}

/** ms of one step (constants.ts has the formula's reasons). */
export function stepMs(engine: EngineConstants, work: StepWork): number {
  return (
    engine.baseMs +
    engine.prefillMsPerToken * work.prefillTokens +
    engine.attentionMsPerPair * work.pairs +
    engine.decodeMsPerSequence * work.decoding +
    engine.decodeMsPerContextToken * work.contextTokens
  );
}

/** Pairs of `tokens` computed behind `context` others. */
export function pairsOf(tokens: number, context: number): number {
  return tokens * (context + tokens / 2);
}

/**
 * ms of `steps` steps in a row that only decode: each adds a token of context a sequence, so that is
 * steps * first + D * decoding * steps * (steps - 1) / 2, first being the first step's time.
 */
export function decodeStepsMs(engine: EngineConstants, decoding: number, contextTokens: number, steps: number): number {
  const first = stepMs(engine, { prefillTokens: 0, pairs: 0, decoding, contextTokens });
  return steps * first + (engine.decodeMsPerContextToken * decoding * steps * (steps - 1)) / 2;
}

/** The least number of such steps, at least 1, that last `ms` or longer: solves the sum above. */
export function decodeStepsFor(engine: EngineConstants, decoding: number, contextTokens: number, ms: number): number {
  const first = stepMs(engine, { prefillTokens: 0, pairs: 0, decoding, contextTokens });
  const growth = engine.decodeMsPerContextToken * decoding;
  const half = first - growth / 2;
  const guess = growth > 0 ? (-half + Math.sqrt(half * half + 2 * growth * ms)) / growth : ms / first;
  let steps = Math.max(1, Math.floor(guess));
  while (steps > 1 && decodeStepsMs(engine, decoding, contextTokens, steps - 1) >= ms) steps--;
  while (decodeStepsMs(engine, decoding, contextTokens, steps) < ms) steps++;
  return steps;
}
