/**
 * What a replica reports of a lease, and how much of it is believed. Whatever the numbers, the report's step is taken: a lease that began has
 * begun. A time outside its range was not measured, and teaches nothing; tokens are cut to what is possible.
 */
import { MOST_CONTEXT_TOKENS } from "../pool/capacity.ts";
import type { DecodingReport, LeaseReport } from "../pool/frames.ts";

/** A measured time lies between these, or is 0, ms. */
const LEAST_MEASURED_MS = 0.001;
const MOST_MEASURED_MS = 3_600_000;
/** Answers to one prompt, each as long as the context at most. */
const MOST_CHOICES = 128;

interface Believed<Step> {
  step: Step;
  /** Whether any number of it was not. */
  cut: boolean;
}

/** @param contextTokens of its replica. */
export function believed(step: LeaseReport, contextTokens = MOST_CONTEXT_TOKENS): Believed<LeaseReport> {
  if (step.event !== "decoding" && step.event !== "settled") return { step, cut: false };
  const within = new Range();
  const promptTokens = within.tokens(step.promptTokens, contextTokens);
  const usage = { promptTokens, cachedTokens: within.tokens(step.cachedTokens, promptTokens) };
  if (step.event === "settled") {
    const outputTokens = within.tokens(step.outputTokens, MOST_CHOICES * contextTokens);
    const settled = { ...step, ...usage, outputTokens, decodeMs: within.time(step.decodeMs ?? 0) };
    return { step: settled, cut: within.cut };
  }
  const { transfer, loadedTokens, loadMs, ...rest } = step;
  const decoding: DecodingReport = { ...rest, ...usage, prefillMs: within.time(step.prefillMs) };
  if (loadedTokens !== undefined && loadMs !== undefined) {
    decoding.loadedTokens = within.tokens(loadedTokens, promptTokens);
    decoding.loadMs = within.time(loadMs);
  }
  if (transfer !== undefined)
    decoding.transfer = { ...transfer, tokens: within.tokens(transfer.tokens, promptTokens), ms: within.time(transfer.ms) };
  // What is left after parts that nobody measured is no measured time either.
  if (within.untimed) decoding.prefillMs = 0;
  return { step: decoding, cut: within.cut };
}

/** Tokens that one running request may have written, as a heartbeat names it. */
export function believedOutput(outputTokens: number | undefined, contextTokens: number): number {
  return new Range().tokens(outputTokens ?? 0, MOST_CHOICES * contextTokens);
}

class Range {
  cut = false;
  /** A time was none. */
  untimed = false;

  /** 0: not measured. */
  time(ms: number): number {
    if (ms === 0 || (ms >= LEAST_MEASURED_MS && ms <= MOST_MEASURED_MS)) return ms;
    this.cut = true;
    this.untimed = true;
    return 0;
  }

  tokens(tokens: number, most: number): number {
    const bounded = Number.isFinite(tokens) ? Math.min(most, Math.max(0, Math.floor(tokens))) : 0;
    if (bounded !== tokens) this.cut = true;
    return bounded;
  }
}
