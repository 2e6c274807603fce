/** What replicas' own reports teach: how long computing, loading, fetching and decoding take each of them. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import type { Rates } from "../decision/decision.ts";
import { Evidence } from "./evidence.ts";
import { SharedFits, type SavedFits } from "./shared-fit.ts";
import type { DecodeReport, PrefillReport } from "./rate-reports.ts";
import { ConcurrentPrefills } from "./concurrent-prefills.ts";
import { coldPrefill, PREFILL, prefillFeatures, prefillRates } from "./prefill-fit.ts";
import { DecayingRatio, ReplicaRatios, type SavedRatio, type SavedRatios } from "./decaying-ratio.ts";

/** Until anything was reported. Overestimating a prefill is harmless, as nobody is refused for a guess; underestimating it costs. */
export const COLD_PREFILL_MS_PER_TOKEN = 1;
/** Of the prefill rate; a replica loads what it finds quicker to load, so the first reports come by themselves. */
const COLD_LOAD_SHARE = 0.25;
/** 128 KB of KV a token (8B models) over 50 Gbit/s. */
export const COLD_TRANSFER_MS_PER_TOKEN = 0.02;
/** Of the prefill rate: one more sequence is one more token to compute; reading one more token of context is far less. */
const COLD_CONTEXT_SHARE = 1 / 1_000;
const COLD_BYTES_PER_TOKEN = 4;
const COLD_MEAN_OUTPUT_TOKENS = 256;
/** A decode of fewer tokens says little of a step's time. */
const LEAST_DECODED_TOKENS = 8;
const FULLY_TRUSTED_TOKENS = 64;
/** At least this share of a decode's time was its own. */
const LEAST_OWN_SHARE = 0.1;
/** Work, and what comes on top: after long work a first token is taken to come when that is done, until reports say otherwise. */
const FIRST_TOKEN = { size: 2, presumed: { features: [1_000, 1], target: 1_000, reports: 1 } };
/**
 * Times to the first token are believed to be within these of what queue and prefill add up to. Never less: what waits ahead may be computed in the same
 * step and add nothing, and reports of such waits would say of a long prompt, too, that it takes less than its own prefill.
 */
const TTFT_STRETCH = { least: 1, most: 4 };
/** A first token counts at least so much, however many waited in the same time. */
const LEAST_FIRST_TOKEN_TRUST = 0.1;
const MOST_TTFT_EXTRA_MS = 60_000;
/** Waits of predictions are learnt from no more than this. */
const LEAST_TTFT_MS = 0.1;
const COLD_PREFILL = coldPrefill(COLD_PREFILL_MS_PER_TOKEN);
/** How fast belief in a silent replica's slowness fades: by half in 30 s. */
const FADE_EVERY_MS = 5_000;
const FADE_KEEP = 0.89;
/** A report counts by so much less for each prefill that was under way beside it and has not ended. */
const UNTOLD_COST = 10;

/** As a checkpoint keeps what was learnt. */
export interface SavedRates {
  prefill: SavedFits | null;
  decode: SavedFits | null;
  firstTokens: SavedFits | null;
  stretch: SavedRatios;
  load: SavedRatios;
  transfer: SavedRatios;
  bytes: SavedRatio | null;
  output: SavedRatio | null;
  evidence: number[];
  mostSequences: number;
}

/** Rates learnt from replicas' own reports: of each replica, and bytes per token and output length of the pool. */
export class RateBook {
  readonly #prefill = new SharedFits(PREFILL);
  readonly #decode = new SharedFits(3);
  /** Time to the first token, by what queue and prefill add up to: steps, bookings and the network come on top. A slow replica's steps are slow, too. */
  readonly #firstToken = new SharedFits(FIRST_TOKEN);
  /** By slot, of the last one, pool clock. */
  readonly #firstTokenAtMs: (number | undefined)[] = [];
  readonly #evidence = new Evidence();
  readonly #sideBySide = new ConcurrentPrefills();
  /** Side by side in one report, of all. */
  #mostSequences = 0;
  /** Time of decodes, by what S + C*n + D*L makes of them: prefills come between, and the fit has its errors. */
  readonly #stretch = new ReplicaRatios();
  readonly #load = new ReplicaRatios();
  readonly #transfer = new ReplicaRatios();
  readonly #bytes = new DecayingRatio();
  readonly #output = new DecayingRatio("arithmetic");
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
   * there without this prefill, too, and left out of its price. The client waits for it: `reportFirstToken`.
   */
  reportPrefill(replica: number, { uncachedTokens, cachedTokens, prefillMs, endedAtMs, untold }: PrefillReport): void {
    if (!(replica >= 0 && replica < MAX_REPLICAS)) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    if (!(uncachedTokens > 0 && prefillMs > 0 && Number.isFinite(uncachedTokens) && Number.isFinite(prefillMs))) return;
    this.#heard.add(replica);
    const pairsOfOwn = uncachedTokens * (cachedTokens + uncachedTokens / 2);
    const own = { fromMs: endedAtMs - prefillMs, toMs: endedAtMs, tokens: uncachedTokens, pairs: pairsOfOwn };
    const work = this.#sideBySide.add(replica, own);
    this.#prefill.add(replica, prefillFeatures(work), prefillMs, COLD_PREFILL, 1 / (1 + UNTOLD_COST * untold));
    this.#evidence.add(uncachedTokens);
    this.#changed();
  }

  /** C and D of a step's time S + C*n + D*L: what the steps of one decode took, the prefills between them taken out. */
  reportDecode(replica: number, { outputTokens, decodeMs, sequences, contextTokens, prefilledMs }: DecodeReport): void {
    if (!(outputTokens >= LEAST_DECODED_TOKENS && decodeMs > 0 && sequences >= 0 && contextTokens >= 0)) return;
    if (!Number.isFinite(outputTokens + decodeMs + sequences + contextTokens + prefilledMs)) return;
    this.#heard.add(replica);
    const ownMs = Math.max(decodeMs - prefilledMs, LEAST_OWN_SHARE * decodeMs);
    this.#mostSequences = Math.max(this.#mostSequences, sequences);
    const trust = Math.min(1, outputTokens / FULLY_TRUSTED_TOKENS);
    this.#decode.add(replica, [1, sequences, contextTokens], ownMs / (outputTokens - 1), [NaN, ...this.#coldDecode(replica)], trust);
    const [step = 0, perSequence = 0, perContextToken = 0] = this.#decode.of(replica) ?? [];
    this.#stretch.add(replica, decodeMs, (outputTokens - 1) * (step + perSequence * sequences + perContextToken * contextTokens), 1);
    this.#changed();
  }

  /** Of the replica that decodes. `expectedMs`: what the queue ahead and its own prefill were predicted to take when it was decided; `tookMs`: from then to its first token, at `endedAtMs` (pool clock). */
  reportFirstToken(replica: number, expectedMs: number, tookMs: number, endedAtMs: number): void {
    this.#heard.add(replica);
    const trust = Math.max(LEAST_FIRST_TOKEN_TRUST, this.#newShare(replica, tookMs, endedAtMs));
    this.#firstToken.add(replica, [Math.max(expectedMs, LEAST_TTFT_MS), 1], tookMs, [1, NaN], trust);
    this.#changed();
  }

  /** Of its time what no first token before it waited in: a replica that stands still is one fact, however many wait for it. */
  #newShare(replica: number, tookMs: number, endedAtMs: number): number {
    const knownUntilMs = this.#firstTokenAtMs[replica] ?? -Infinity;
    this.#firstTokenAtMs[replica] = Math.max(knownUntilMs, endedAtMs);
    const newMs = Math.min(tookMs, endedAtMs - knownUntilMs);
    return tookMs > 0 && newMs > 0 ? newMs / tookMs : 0;
  }

  /** Time passes: what slow replicas are believed fades while they say nothing. */
  tick(nowMs: number): void {
    if (nowMs < this.#fadesAtMs) return;
    this.#fadesAtMs = nowMs + FADE_EVERY_MS;
    for (let replica = 0; replica < MAX_REPLICAS; replica++) {
      if (this.#heard.has(replica)) continue;
      for (const fits of [this.#prefill, this.#decode, this.#firstToken]) fits.fade(replica, FADE_KEEP);
    }
    this.#heard.clear();
    this.#stretch.tick(() => this.#stretch.pool ?? 1, 1 - FADE_KEEP);
    this.#load.tick((replica) => COLD_LOAD_SHARE * this.prefillMsPerToken(replica), 1 - FADE_KEEP);
    this.#transfer.tick(() => COLD_TRANSFER_MS_PER_TOKEN, 1 - FADE_KEEP);
    this.#changed();
  }

  /** Tokens came from lower tiers. */
  reportLoad(replica: number, loadedTokens: number, loadMs: number): void {
    this.#load.add(replica, loadMs, loadedTokens, COLD_LOAD_SHARE * this.prefillMsPerToken(replica));
    this.#changed();
  }

  /** Loading was not worth it at this rate. Belief fades, so that what was slow once is tried again. */
  declinedLoad(replica: number): void {
    this.#load.fade(replica, COLD_LOAD_SHARE * this.prefillMsPerToken(replica));
    this.#changed();
  }

  /** `replica` fetched tokens from another one. */
  reportTransfer(replica: number, tokens: number, ms: number): void {
    this.#transfer.add(replica, ms, tokens, COLD_TRANSFER_MS_PER_TOKEN);
    this.#changed();
  }

  /** Fetching was not worth it at this rate: as with loads. */
  declinedTransfer(replica: number): void {
    this.#transfer.fade(replica, COLD_TRANSFER_MS_PER_TOKEN);
    this.#changed();
  }

  /** A prompt was tokenized. */
  reportPrompt(promptBytes: number, promptTokens: number): void {
    this.#bytes.add(promptBytes, promptTokens, COLD_BYTES_PER_TOKEN);
  }

  /** A request ended. */
  reportOutput(outputTokens: number): void {
    this.#output.add(Math.max(outputTokens, 1), 1, COLD_MEAN_OUTPUT_TOKENS);
  }

  /** The slot is free, its next replica may be another kind of machine. */
  forgetReplica(replica: number): void {
    for (const book of [this.#prefill, this.#decode, this.#firstToken, this.#stretch, this.#load, this.#transfer]) book.forget(replica);
    this.#sideBySide.forget(replica);
    this.#firstTokenAtMs[replica] = undefined;
    this.#changed();
  }

  /** All rates of a replica: its own, else the pool's, else guesses that are rather high. The object is not changed afterwards. */
  of(replica: number): Rates {
    const known = this.#rates[replica];
    if (known !== undefined) return known;
    const prefill = this.#prefill.of(replica);
    const decode = this.#decode.of(replica);
    const [coldSequence, coldContext] = this.#coldDecode(replica);
    const [stretch = 1, extraMs = 0] = this.#firstToken.of(replica) ?? [];
    const rates: Rates = {
      prefillMsPerToken: this.prefillMsPerToken(replica),
      attentionMsPerPair: prefill === null ? 0 : prefillRates(prefill).perPair,
      decodeMsPerSequence: decode?.[1] ?? coldSequence,
      decodeMsPerStep: decode?.[0] ?? 0,
      decodeSequencesSeen: this.#mostSequences,
      // Before any decode was reported the guesses stand, which are rather high; before any prefill nothing does.
      decodeStretch: this.known ? Math.max(1, this.#stretch.of(replica) ?? 1) : 0,
      decodeMsPerContextToken: decode?.[2] ?? coldContext,
      loadMsPerToken: this.loadMsPerToken(replica),
      transferMsPerToken: this.transferMsPerToken(replica),
      ttftStretch: Math.min(TTFT_STRETCH.most, Math.max(TTFT_STRETCH.least, stretch)),
      ttftExtraMs: Math.min(MOST_TTFT_EXTRA_MS, extraMs),
    };
    this.#rates[replica] = rates;
    return rates;
  }

  /** Somebody has reported how long a prefill takes; before that times are guesses. */
  get known(): boolean {
    return this.#prefill.of(0) !== null;
  }

  /** Whether enough prefills of about so many uncached tokens were reported: nobody is refused for a guess, and few reports are one. */
  knows(uncachedTokens: number): boolean {
    return this.#evidence.has(uncachedTokens);
  }

  /** ms per uncached prompt token; the pool's until the replica has reported. */
  prefillMsPerToken(replica: number): number {
    const prefill = this.#prefill.of(replica);
    return prefill === null ? COLD_PREFILL_MS_PER_TOKEN : prefillRates(prefill).perToken;
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

  /** At most, estimated: before any prompt was counted, text of half as many bytes a token as usual is allowed for. */
  mostPromptTokens(promptBytes: number): number {
    return (this.#bytes.value === null ? 2 : 1) * this.promptTokens(promptBytes);
  }

  get meanOutputTokens(): number {
    return this.#output.value ?? COLD_MEAN_OUTPUT_TOKENS;
  }

  /** Estimate, at least 1. */
  promptTokens(promptBytes: number): number {
    return Math.max(1, Math.round(promptBytes / this.bytesPerToken));
  }

  save(): SavedRates {
    return {
      prefill: this.#prefill.save(),
      decode: this.#decode.save(),
      firstTokens: this.#firstToken.save(),
      stretch: this.#stretch.save(),
      load: this.#load.save(),
      transfer: this.#transfer.save(),
      bytes: this.#bytes.save(),
      output: this.#output.save(),
      evidence: this.#evidence.save(),
      mostSequences: this.#mostSequences,
    };
  }

  /** What `save` gave, into a new book. Slots must mean the same replicas. */
  restore(saved: SavedRates): void {
    if (saved.prefill !== null) this.#prefill.restore(saved.prefill);
    if (saved.decode !== null) this.#decode.restore(saved.decode);
    if (saved.firstTokens !== null) this.#firstToken.restore(saved.firstTokens);
    this.#stretch.restore(saved.stretch);
    this.#load.restore(saved.load);
    this.#transfer.restore(saved.transfer);
    if (saved.bytes !== null) this.#bytes.restore(saved.bytes);
    if (saved.output !== null) this.#output.restore(saved.output);
    this.#evidence.restore(saved.evidence);
    this.#mostSequences = saved.mostSequences;
    this.#changed();
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
