import { MAX_REPLICAS } from "../residency/segment-index.ts";

/** Until anything was reported. Overestimating a prefill is harmless, underestimating costs (facts/routing.md §3). */
export const COLD_PREFILL_MS_PER_TOKEN = 1;
/** Of the prefill rate; a replica loads what it finds quicker to load, so the first reports come by themselves. */
const COLD_LOAD_SHARE = 0.25;
/** 128 KB of KV a token (8B models) over 50 Gbit/s. */
export const COLD_TRANSFER_MS_PER_TOKEN = 0.02;
export const COLD_BYTES_PER_TOKEN = 4;
export const COLD_MEAN_OUTPUT_TOKENS = 256;
/** Share of the past that a new report leaves. */
const KEEP = 0.9;
/** One report may say at most so many times more or less than what was known. */
const OUTLIER = 4;

/** A quotient of two decaying sums: large reports weigh more, as they matter more; old ones fade. */
class DecayingRatio {
  #top = 0;
  #bottom = 0;

  get value(): number | null {
    return this.#bottom > 0 ? this.#top / this.#bottom : null;
  }

  /** `expected` bounds what one report may say; null: believed as it is. Reports that are not positive and finite are ignored. */
  add(top: number, bottom: number, expected: number | null): void {
    if (!(top > 0 && bottom > 0 && Number.isFinite(top) && Number.isFinite(bottom))) return;
    const bounded = expected === null ? top : Math.min(Math.max(top, (expected * bottom) / OUTLIER), expected * bottom * OUTLIER);
    this.#top = this.#top * KEEP + bounded;
    this.#bottom = this.#bottom * KEEP + bottom;
  }
}

/** One ratio per replica, and the pool's for those that have not reported yet. */
class ReplicaRatios {
  readonly #own: DecayingRatio[] = Array.from({ length: MAX_REPLICAS }, () => new DecayingRatio());
  readonly #pool = new DecayingRatio();

  add(replica: number, top: number, bottom: number): void {
    const own = this.#own[replica];
    if (own === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    const pool = this.#pool.value;
    own.add(top, bottom, own.value ?? pool);
    this.#pool.add(top, bottom, pool);
  }

  forget(replica: number): void {
    if (replica in this.#own) this.#own[replica] = new DecayingRatio();
  }

  of(replica: number): number | null {
    return this.#own[replica]?.value ?? this.#pool.value;
  }
}

/** Rates learnt from replicas' own reports: prefill, loads and transfers per replica, bytes per token and output length per pool. */
export class RateBook {
  readonly #prefill = new ReplicaRatios();
  readonly #load = new ReplicaRatios();
  readonly #transfer = new ReplicaRatios();
  readonly #bytes = new DecayingRatio();
  readonly #output = new DecayingRatio();

  /** A prefill ended: `uncachedTokens` were computed in `prefillMs`, from its start to the first token, its time in the queue not counted. */
  reportPrefill(replica: number, uncachedTokens: number, prefillMs: number): void {
    this.#prefill.add(replica, prefillMs, uncachedTokens);
  }

  /** Tokens came from lower tiers. */
  reportLoad(replica: number, loadedTokens: number, loadMs: number): void {
    this.#load.add(replica, loadMs, loadedTokens);
  }

  /** `replica` fetched tokens from another one. */
  reportTransfer(replica: number, tokens: number, ms: number): void {
    this.#transfer.add(replica, ms, tokens);
  }

  /** A prompt was tokenized. */
  reportPrompt(promptBytes: number, promptTokens: number): void {
    this.#bytes.add(promptBytes, promptTokens, this.#bytes.value);
  }

  /** A request ended. */
  reportOutput(outputTokens: number): void {
    this.#output.add(Math.max(outputTokens, 1), 1, this.#output.value);
  }

  /** The slot is free, its next replica may be another kind of machine. */
  forgetReplica(replica: number): void {
    for (const ratios of [this.#prefill, this.#load, this.#transfer]) ratios.forget(replica);
  }

  /** ms per uncached prompt token; the pool's mean until the replica has reported. */
  prefillMsPerToken(replica: number): number {
    return this.#prefill.of(replica) ?? COLD_PREFILL_MS_PER_TOKEN;
  }

  /** ms per token loaded from a lower tier. */
  loadMsPerToken(replica: number): number {
    return this.#load.of(replica) ?? COLD_LOAD_SHARE * this.prefillMsPerToken(replica);
  }

  /** ms per token fetched from another replica. */
  transferMsPerToken(replica: number): number {
    return this.#transfer.of(replica) ?? COLD_TRANSFER_MS_PER_TOKEN;
  }

  get bytesPerToken(): number {
    return this.#bytes.value ?? COLD_BYTES_PER_TOKEN;
  }

  get meanOutputTokens(): number {
    return this.#output.value ?? COLD_MEAN_OUTPUT_TOKENS;
  }

  /** Estimate, at least 1. */
  promptTokens(promptBytes: number): number {
    return Math.max(1, Math.round(promptBytes / this.bytesPerToken));
  }
}
