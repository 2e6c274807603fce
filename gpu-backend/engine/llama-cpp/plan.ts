/** What the next step computes. */
import type { Run } from "./run.ts";

export interface PlanItem {
  run: Run;
  tokens: Uint32Array;
  /** Prefill that ends the prompt, or decode: the last token's logits are wanted. */
  samples: boolean;
}

export interface StepLimits {
  /** Tokens in one batch. */
  batchTokens: number;
  /** Prefill tokens in one step while other runs decode: this bounds the pause between their tokens. */
  prefillChunkTokens: number;
}

/** Length of the next piece of a prompt of which `left` tokens are missing; never 1 unless that is the whole prompt; 0 for none now. */
export function prefillPiece(left: number, budget: number, wholePrompt: boolean): number {
  const length = Math.min(left, left - budget === 1 ? budget - 1 : budget);
  return length === 1 && !(wholePrompt && left === 1) ? 0 : Math.max(0, length);
}

/**
 * The step's batches: all decode tokens, then each piece of a prompt alone, in the order of their start. Empty when no run can go on.
 *
 * A piece shares no batch, because llama.cpp splits a batch over several sequences into parts of equal length for each: beside a decode
 * token or a piece one token shorter, one token of the prompt would be computed by itself, with other kernels and another last bit.
 */
export function planStep(runs: Iterable<Run>, limits: StepLimits): PlanItem[][] {
  const ready = [...runs].filter((run) => !run.lagging);
  const decode: PlanItem[] = [];
  for (const run of ready) if (run.next !== undefined) decode.push({ run, tokens: Uint32Array.of(run.next), samples: true });
  const batches = decode.length > 0 ? [decode] : [];
  let budget = decode.length > 0 ? Math.min(limits.batchTokens, limits.prefillChunkTokens) : limits.batchTokens;
  for (const run of ready) {
    if (run.next !== undefined) continue;
    const done = run.sequence.tokens.length;
    const left = run.tokens.length - done;
    const length = prefillPiece(left, budget, done === 0);
    if (length === 0) continue;
    budget -= length;
    batches.push([{ run, tokens: run.tokens.subarray(done, done + length), samples: length === left }]);
  }
  return batches;
}
