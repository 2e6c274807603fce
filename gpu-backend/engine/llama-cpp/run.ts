/** One request inside the child: its prompt, its progress, its clock. */
import type { EngineEvent, EngineKey, EngineRefusal, FinishReason, FirstToken, Prefilled } from "../engine.ts";
import { LogprobQueue } from "./logprobs.ts";
import { unacknowledgedDeltaLimit, type ChildRequest, type Failed } from "./messages.ts";
import type { CheckedRestore } from "./restore.ts";
import type { RunSampler } from "./sampling.ts";
import type { Sequence } from "./sequences.ts";
import { TextOutput } from "../text-output.ts";

/** The run ends with its first token, and its KV goes elsewhere. */
export interface HandOver {
  wanted: ReadonlySet<EngineKey>;
  answer: (answer: Prefilled | EngineRefusal | Failed) => void;
  /** Prompt tokens computed or held. */
  progressed: (tokens: number) => void;
}

interface PreparedRequest {
  request: ChildRequest;
  tokens: Uint32Array;
  keys: EngineKey[];
  /** Already clamped to what the context has room for. */
  maxTokens: number;
  handOver: HandOver | undefined;
}

export class Run {
  readonly id: string;
  readonly tokens: Uint32Array;
  readonly keys: EngineKey[];
  readonly maxTokens: number;
  readonly sampler: RunSampler;
  readonly output: TextOutput;
  /** Alternatives wanted with each token; null for no logprobs. */
  readonly topLogprobs: number | null;
  readonly logprobs: LogprobQueue | null;
  readonly handOver: HandOver | undefined;
  /** KV that came with the request; dropped once it is placed. */
  restore: CheckedRestore | undefined;
  /** Of a run that hands over: sampled, so the KV can go. */
  first: FirstToken | undefined;
  cancelled = false;
  cachedTokens = 0;
  /** What putting a restore in place took; 0 without one. */
  restoreMs = 0;
  /** The last sampled token, whose KV is not computed yet; undefined during prefill. */
  next: number | undefined;
  outputTokens = 0;
  /** Output tokens that no delta has reported yet. */
  untoldTokens = 0;
  #sequence: Sequence | undefined;
  #outstandingDeltas = 0;
  #startedAtMs = 0;
  #firstTokenAtMs = 0;
  #lastTokenAtMs = 0;

  constructor(prepared: PreparedRequest, sampler: RunSampler) {
    this.id = prepared.request.id;
    this.tokens = prepared.tokens;
    this.keys = prepared.keys;
    this.maxTokens = prepared.maxTokens;
    this.handOver = prepared.handOver;
    this.sampler = sampler;
    this.output = new TextOutput(prepared.request.stop);
    this.topLogprobs = prepared.request.logprobs;
    this.logprobs = this.topLogprobs === null ? null : new LogprobQueue();
  }

  /** Throws before `start`. */
  get sequence(): Sequence {
    if (this.#sequence === undefined) throw new Error(`run ${this.id} has no sequence`);
    return this.#sequence;
  }

  /** Its consumer lags: leave it out until it has caught up. */
  get lagging(): boolean {
    return this.#outstandingDeltas >= unacknowledgedDeltaLimit;
  }

  /** From start to first token. */
  get prefillMs(): number {
    return Math.max(0, this.#firstTokenAtMs - this.#startedAtMs);
  }

  start(sequence: Sequence, nowMs: number): void {
    this.#sequence = sequence;
    this.#startedAtMs = nowMs;
  }

  acknowledge(deltas: number): void {
    this.#outstandingDeltas -= deltas;
  }

  countToken(token: number, nowMs: number): void {
    if (this.outputTokens === 0) this.#firstTokenAtMs = nowMs;
    this.#lastTokenAtMs = nowMs;
    this.next = token;
    this.outputTokens++;
    this.untoldTokens++;
  }

  /** A delta of text that became certain; undefined for none. The last may be empty, for the logprob of a token the end cut. */
  delta(text: string, last: boolean): EngineEvent | undefined {
    if (text === "" && !last) return undefined;
    const logprobs = this.logprobs?.take(this.output.told, last) ?? null;
    if (text === "" && (logprobs === null || logprobs.length === 0)) return undefined;
    const tokens = this.untoldTokens;
    this.untoldTokens = 0;
    this.#outstandingDeltas++;
    return { type: "delta", text, tokens, logprobs };
  }

  finished(reason: FinishReason, message?: string): EngineEvent {
    return {
      type: "finished",
      reason,
      promptTokens: this.tokens.length,
      cachedTokens: this.cachedTokens,
      outputTokens: this.outputTokens,
      prefillMs: this.prefillMs,
      decodeMs: this.#lastTokenAtMs - this.#firstTokenAtMs,
      stopText: this.output.stopText,
      ...(message === undefined ? {} : { message }),
    };
  }
}
