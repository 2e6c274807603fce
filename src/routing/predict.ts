/** What replicas' own reports teach: how long computing, loading, fetching and decoding take each of them. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import type { Rates } from "./decision.ts";
import { PacedFits } from "./paced-fits.ts";
import { DecayingRatio, ReplicaRatios } from "./ratio.ts";

/** Until anything was reported. Overestimating a prefill is harmless, underestimating costs (facts/routing.md §3). */
export const COLD_PREFILL_MS_PER_TOKEN = 1;
/** Of the prefill rate; a replica loads what it finds quicker to load, so the first reports come by themselves. */
const COLD_LOAD_SHARE = 0.25;
/** 128 KB of KV a token (8B models) over 50 Gbit/s. */
export const COLD_TRANSFER_MS_PER_TOKEN = 0.02;
/** Of the prefill rate: one more sequence is one more token to compute; reading one more token of context is far less. */
const COLD_CONTEXT_SHARE = 1 / 1_000;
export const COLD_BYTES_PER_TOKEN = 4;
export const COLD_MEAN_OUTPUT_TOKENS = 256;
/** A decode of fewer tokens says little of a step's time. */
const LEAST_DECODED_TOKENS = 8;
const FULLY_TRUSTED_TOKENS = 64;
/** At least this share of a decode's time was its own. */
const LEAST_OWN_SHARE = 0.1;
/** Where all reports look alike a constant, or pairs, explain them as well as tokens do; a token costs at least this share of what it would without them. */
const LEAST_SHARE_OF_ROUGH = 0.2;
/** Prefills remembered for each replica, to share the time that they ran side by side. */
const REMEMBERED = 8;
/** How fast belief in a silent replica's slowness fades: by half in 30 s. */
const FADE_EVERY_MS = 5_000;
const FADE_KEEP = 0.89;
/** A report counts by so much less for each prefill that was under way beside it and has not ended. */
const UNTOLD_COST = 10;

/** A prefill that ended. */
export interface PrefillReport {
  uncachedTokens: number;
  /** What lay before them. */
  cachedTokens: number;
  /** Spent computing: from its start to the first token, loads and transfer not counted. */
  prefillMs: number;
  /** Pool clock. */
  endedAtMs: number;
  /** Others that had started there and had no first token yet. */
  untold: number;
}

/** A decode that ended, and what ran beside it: means over its time. */
export interface DecodeReport {
  outputTokens: number;
  /** From the first token to the last. */
  decodeMs: number;
  sequences: number;
  contextTokens: number;
  /** Predicted time of the prefills that its replica did meanwhile. */
  prefilledMs: number;
}

interface Remembered {
  fromMs: number;
  toMs: number;
  tokens: number;
  pairs: number;
}

/** Rates learnt from replicas' own reports: of each replica, and bytes per token and output length of the pool. */
export class RateBook {
  readonly #prefill = new PacedFits(3);
  /** All of a prefill's time laid on its tokens. */
  readonly #rough = new PacedFits(1);
  readonly #decode = new PacedFits(3);
  readonly #remembered: Remembered[][] = Array.from({ length: MAX_REPLICAS }, () => []);
  /** Side by side in one report, of all. */
  #mostSequences = 0;
  /** Time of decodes, by what S + C*n + D*L makes of them: prefills come between, and the fit has its errors. */
  readonly #stretch = new ReplicaRatios();
  readonly #load = new ReplicaRatios();
  readonly #transfer = new ReplicaRatios();
  readonly #bytes = new DecayingRatio();
  readonly #output = new DecayingRatio();
  /** Since the last fading. */
  readonly #heard = new Set<number>();
  #fadesAtMs = -Infinity;
  /** By slot; undefined: to be made anew. */
  readonly #rates: (Rates | undefined)[] = [];

  /**
   * B and Q of p = B*u + Q*u*(h + u/2), from a prefill of u tokens behind h.
   *
   * A prefill beside others takes longer than alone. So each report is fitted to the work of all prefills known to have run in its interval,
   * each by the share of its own time that fell into it; those still under way are not known yet, and a report counts the less the more
   * of them there were. What its steps take whatever they compute (weights are read, decodes go on) is a constant beside the two: it is
   * there without this prefill, too, and left out of its price.
   */
  reportPrefill(replica: number, { uncachedTokens, cachedTokens, prefillMs, endedAtMs, untold }: PrefillReport): void {
    const remembered = this.#remembered[replica];
    if (remembered === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    if (!(uncachedTokens > 0 && prefillMs > 0 && Number.isFinite(uncachedTokens) && Number.isFinite(prefillMs))) return;
    this.#heard.add(replica);
    const own: Remembered = {
      fromMs: endedAtMs - prefillMs,
      toMs: endedAtMs,
      tokens: uncachedTokens,
      pairs: uncachedTokens * (cachedTokens + uncachedTokens / 2),
    };
    let { tokens, pairs } = own;
    for (const other of remembered) {
      const together = Math.min(own.toMs, other.toMs) - Math.max(own.fromMs, other.fromMs);
      if (together <= 0) continue;
      const share = together / (other.toMs - other.fromMs);
      tokens += share * other.tokens;
      pairs += share * other.pairs;
    }
    this.#rough.add(replica, [tokens], prefillMs, null, 1 / (1 + UNTOLD_COST * untold));
    this.#prefill.add(replica, [tokens, pairs, 1], prefillMs, null, 1 / (1 + UNTOLD_COST * untold));
    remembered.push(own);
    if (remembered.length > REMEMBERED) remembered.shift();
    this.#changed();
  }

  /** C and D of a step's time S + C*n + D*L: what the steps of one decode took, the prefills between them taken out. */
  reportDecode(replica: number, { outputTokens, decodeMs, sequences, contextTokens, prefilledMs }: DecodeReport): void {
    if (!(outputTokens >= LEAST_DECODED_TOKENS && decodeMs > 0)) return;
    this.#heard.add(replica);
    const ownMs = Math.max(decodeMs - prefilledMs, LEAST_OWN_SHARE * decodeMs);
    this.#mostSequences = Math.max(this.#mostSequences, sequences);
    const trust = Math.min(1, outputTokens / FULLY_TRUSTED_TOKENS);
    this.#decode.add(replica, [1, sequences, contextTokens], ownMs / (outputTokens - 1), [NaN, ...this.#coldDecode(replica)], trust);
    const [step = 0, perSequence = 0, perContextToken = 0] = this.#decode.of(replica) ?? [];
    this.#stretch.add(replica, decodeMs, (outputTokens - 1) * (step + perSequence * sequences + perContextToken * contextTokens));
    this.#changed();
  }

  /** Time passes: what slow replicas are believed fades while they say nothing. */
  tick(nowMs: number): void {
    if (nowMs < this.#fadesAtMs) return;
    this.#fadesAtMs = nowMs + FADE_EVERY_MS;
    for (let replica = 0; replica < MAX_REPLICAS; replica++) {
      if (this.#heard.has(replica)) continue;
      for (const fits of [this.#prefill, this.#rough, this.#decode]) fits.fade(replica, FADE_KEEP);
      this.#stretch.fadeToPool(replica, 1 - FADE_KEEP);
    }
    this.#heard.clear();
    this.#changed();
  }

  /** Tokens came from lower tiers. */
  reportLoad(replica: number, loadedTokens: number, loadMs: number): void {
    this.#load.add(replica, loadMs, loadedTokens);
    this.#rates.length = 0;
  }

  /** Loading was not worth it at this rate. Belief fades, so that what was slow once is tried again. */
  declinedLoad(replica: number): void {
    this.#load.fade(replica, COLD_LOAD_SHARE * this.prefillMsPerToken(replica));
    this.#rates.length = 0;
  }

  /** `replica` fetched tokens from another one. */
  reportTransfer(replica: number, tokens: number, ms: number): void {
    this.#transfer.add(replica, ms, tokens);
    this.#rates.length = 0;
  }

  /** Fetching was not worth it at this rate: as with loads. */
  declinedTransfer(replica: number): void {
    this.#transfer.fade(replica, COLD_TRANSFER_MS_PER_TOKEN);
    this.#rates.length = 0;
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
    for (const book of [this.#prefill, this.#rough, this.#decode, this.#stretch, this.#load, this.#transfer]) book.forget(replica);
    this.#remembered[replica]?.splice(0);
    this.#rates.length = 0;
  }

  /** All rates of a replica: its own, else the pool's, else guesses that are rather high. The object is not changed afterwards. */
  of(replica: number): Rates {
    const known = this.#rates[replica];
    if (known !== undefined) return known;
    const decode = this.#decode.of(replica);
    const [coldSequence, coldContext] = this.#coldDecode(replica);
    const rates: Rates = {
      prefillMsPerToken: this.prefillMsPerToken(replica),
      attentionMsPerPair: this.#prefill.of(replica)?.[1] ?? 0,
      decodeMsPerSequence: decode?.[1] ?? coldSequence,
      decodeMsPerStep: decode?.[0] ?? 0,
      decodeSequencesSeen: this.#mostSequences,
      // Before any decode was reported the guesses stand, which are rather high; before any prefill nothing does.
      decodeStretch: this.known ? Math.max(1, this.#stretch.of(replica) ?? 1) : 0,
      decodeMsPerContextToken: decode?.[2] ?? coldContext,
      loadMsPerToken: this.loadMsPerToken(replica),
      transferMsPerToken: this.transferMsPerToken(replica),
    };
    this.#rates[replica] = rates;
    return rates;
  }

  /** Somebody has told how long a prefill takes; before that times are guesses, and nobody is refused for them. */
  get known(): boolean {
    return this.#prefill.of(0) !== null;
  }

  /** ms per uncached prompt token; the pool's until the replica has reported. */
  prefillMsPerToken(replica: number): number {
    const fine = this.#prefill.of(replica)?.[0];
    if (fine === undefined) return COLD_PREFILL_MS_PER_TOKEN;
    return Math.max(fine, LEAST_SHARE_OF_ROUGH * (this.#rough.of(replica)?.[0] ?? 0));
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

  /** A report is one for the pool's fit, and so for all of them. */
  #changed(): void {
    this.#rates.length = 0;
  }

  #coldDecode(replica: number): [number, number] {
    const prefill = this.prefillMsPerToken(replica);
    return [prefill, prefill * COLD_CONTEXT_SHARE];
  }
}
