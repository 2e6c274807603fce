/**
 * What an engine is, whichever it is. Every engine has the run part (`Engine`): prompt in, text out. An engine that knows which KV blocks
 * it holds has the KV part too (`EngineKv`), and one whose blocks can leave it and come back has that part's exchange (`KvExchange`).
 * test/conformance/engine.ts holds an engine to all of this. Whatever can be expected to go wrong is a value; a rejection is a defect.
 *
 * Example of one run's events, prompt of 70 tokens, 32-token blocks, 32 of them held already:
 *   {type: "queued",  promptTokens: 70, blocks: {tokenEnds: Uint32Array(70), blockKeys: [k0, k1]}}
 *   {type: "started", cachedTokens: 32, restoreMs: 0}
 *   {type: "delta",   text: "Hel", tokens: 1, logprobs: null} …
 *   {type: "finished", reason: "stop", promptTokens: 70, cachedTokens: 32, outputTokens: 5, prefillMs: 8.1, decodeMs: 4.0, stopText: null}
 */

import type { Grammar, GrammarPlace } from "./grammar.ts";
import type { KvNumbers } from "./kv-numbers.ts";
import type { KvEventCounts, ResidencyState } from "./residency-state.ts";

/** The engine's own id of a block: lower-case hex SHA-256 over the root (engine, weights, layout, salt) and all tokens up to the block's end. */
export type EngineKey = string & { readonly __brand: "EngineKey" };

/** What the engine is, fixed for one epoch. */
export interface EngineCard {
  /** Name clients use as `model`. */
  model: string;
  /** Longest prompt plus output of one request, in tokens. */
  contextTokens: number;
  /** Tokens in one block. */
  blockTokens: number;
  /** Requests that run at once. */
  sequences: number;
  /** KV capacity of the device tier over all sequences, in tokens. */
  kvTokens: number;
  /** Requests that may wait in the engine beyond those that run. */
  queueLimit: number;
  /** Prompt tokens it computes in one step at most; absent: not known. */
  stepTokens?: number;
  /** Jinja source of the chat template. */
  chatTemplate: string;
  /** Text of the end-of-turn and other special tokens the template may use, by name (bos_token, eos_token). */
  specialTokens: Readonly<Record<string, string>>;
  /** Bytes of text that the vocabulary's longest token stands for; absent: not known. */
  longestTokenBytes?: number;
  /** Texts that the tokenizer reads as one token each wherever they stand: control tokens, tags. Absent: none are known. */
  marks?: readonly string[];
  /** Name and exact version of the engine. */
  release: string;
}

export interface EngineRequest {
  /** Unique among the runs of this engine. */
  id: string;
  /** The rendered prompt, special tokens spelled as text. */
  prompt: string;
  /** UTF-16 offsets in `prompt`, rising, at each of which a token ends, so that a mark around it is read as text. Absent: none. */
  cuts?: readonly number[];
  /** The prompt as tokens of this model, by its client or by this engine's `prepare`: instead of `prompt`. */
  tokens?: Uint32Array | readonly number[];
  /** Requests of different salts never share a block. */
  salt: string;
  /** At least 1. */
  maxTokens: number;
  temperature: number;
  topP: number;
  /** Any integer; the same seed, prompt and settings give the same text. */
  seed: number;
  /** Output ends before the first of these; never part of the text. */
  stop: readonly string[];
  /** OpenAI's, -2 … 2; 0 = none. */
  presencePenalty: number;
  frequencyPenalty: number;
  /** Token id → added to its logit; -100 bars it. */
  logitBias: ReadonlyMap<number, number>;
  /** Alternatives reported for each token, 0 … 20; null = no logprobs. */
  logprobs: number | null;
  /** What the text must match; null = anything. */
  grammar: Grammar | null;
}

export interface TokenLogprob {
  token: string;
  bytes: readonly number[];
  logprob: number;
  top: readonly { token: string; bytes: readonly number[]; logprob: number }[];
}

export type FinishReason = "stop" | "length" | "cancelled" | "error";

/** Which of the engine's blocks hold which bytes of a prompt. */
export interface PromptBlocks {
  /** At index i the UTF-8 byte offset in the prompt at which token i ends; rising. Of an engine that has to ask for it, later; null: it can't be had. */
  tokenEnds: Uint32Array | Promise<Uint32Array | null>;
  /** One key for each full block. Empty when another server reads the prompt and its tokens are unknown. */
  blockKeys: EngineKey[];
}

export type EngineEvent =
  /** First event. `blocks`: of an engine with a KV part; else null. */
  | { type: "queued"; promptTokens: number; blocks: PromptBlocks | null }
  /** A sequence was assigned; `cachedTokens` is a multiple of blockTokens. `restoreMs`: what it took to put a restore in place, 0 without one. */
  | { type: "started"; cachedTokens: number; restoreMs: number }
  /** Whole characters only; `tokens` counts output tokens since the last delta. */
  | { type: "delta"; text: string; tokens: number; logprobs: readonly TokenLogprob[] | null }
  | {
      type: "finished";
      reason: FinishReason;
      promptTokens: number;
      cachedTokens: number;
      outputTokens: number;
      /** From start to first token. */
      prefillMs: number;
      /** From first to last token. */
      decodeMs: number;
      /** The stop string that ended it, when one did. */
      stopText: string | null;
      /** Set when reason is "error". */
      message?: string;
    };

/** Why a run was not accepted. */
export type EngineRefusal =
  | { type: "refused"; reason: "busy"; message: string }
  /** Not `exact`: the prompt has more tokens than `promptTokens`, which is as far as they were counted. */
  | { type: "refused"; reason: "context_length_exceeded"; promptTokens: number; exact: boolean; contextTokens: number; message: string }
  /** The grammar can't be made: what is not supported, in words, and where. */
  | { type: "refused"; reason: "grammar"; message: string; place: GrammarPlace | null }
  /** `index`: of a token of the request's own that the model does not have. */
  | { type: "refused"; reason: "unknown_token"; index: number; message: string }
  | { type: "refused"; reason: "unavailable"; message: string };

/** A prompt that the engine would run. */
export interface Prepared {
  type: "prepared";
  /** Null: the engine reads a prompt only when it runs it. */
  tokens: Uint32Array | null;
}

export interface Counted {
  type: "counted";
  /** Of a prompt that is far too long a number above the context plus `COUNTED_BEYOND_CONTEXT`, and no more. */
  tokens: number;
}

export interface EngineRun {
  type: "accepted";
  /** Once. Ends after `finished`. Pulling slowly slows only this run; whoever leaves early aborts it. */
  events: AsyncIterable<EngineEvent>;
  /** Frees the sequence within one step; the run still ends with `finished` (reason "cancelled"). Idempotent. */
  abort(): void;
}

export interface EngineLoad {
  running: number;
  queued: number;
  /** Tokens in live sequences. */
  usedKvTokens: number;
}

/** Counted since the replica's start. */
export interface EngineFaults {
  /** KV that came with a request and was not used: it did not fit the prompt, had a number that is not finite, or the engine could not take it. */
  restores: number;
  /** Runs that ended with "error" because their logits were not finite; nothing of them stays. */
  notFinite: number;
}

/** A prompt that is too long is counted up to this many tokens beyond the context: clients shorten it by the reported number. */
export const COUNTED_BEYOND_CONTEXT = 65_536;

/** The run part. Everything here may be called from the moment the engine is open; after `close` all answers are "unavailable". */
export interface Engine {
  readonly card: EngineCard;
  readonly faults: EngineFaults;
  /** Null: the engine does not report what it holds. The pool then predicts it, and the replica neither announces nor transfers. */
  readonly kv: EngineKv | null;
  /** Reads a prompt and computes nothing: says what `run` would refuse, but for "busy". */
  prepare(request: EngineRequest): Promise<Prepared | EngineRefusal>;
  /** Queues a request. "busy" once `sequences` run and `queueLimit` wait; "unavailable" for an id that runs already and while the engine is down. */
  run(request: EngineRequest): Promise<EngineRun | EngineRefusal>;
  /** Now, without asking anybody. All is 0 while the engine is down. */
  load(): EngineLoad;
  /** Now; it can change at any time. Absent: exact with a KV part, and predicted without. */
  residency?(): ResidencyState;
  /** Of an engine whose KV events are followed from outside. */
  kvEvents?(): KvEventCounts;
  /** How many tokens a rendered prompt is; `cuts` as in a request. Refused as "unavailable" while the engine is down. */
  count(prompt: string, cuts?: readonly number[]): Promise<Counted | EngineRefusal>;
  /** The engine died and is back, empty: a new epoch. All runs have ended with reason "error". One listener. */
  onRestart(listener: () => void): void;
  /** Runs that are under way end with reason "error". Idempotent. */
  close(): Promise<void>;
}

/** The KV part: the truth about which blocks the engine holds. */
export interface EngineKv {
  /** Every change of residency since the engine's start, but for what a restart loses: that is everything. One listener. */
  onResidency(listener: (changes: BlockChange[]) => void): void;
  /** Null: its blocks do not leave it. */
  readonly exchange: KvExchange | null;
}

/** A block entered or left a tier. Reported at the moment it changes, in order; where blocks leave the engine by `KvExchange`, before the `delta` that its computation allowed. */
export interface BlockChange {
  key: EngineKey;
  held: boolean;
  /** One of `TIER`, of the engine's own; absent: the device. */
  tier?: number;
}

/** Keys and values of consecutive tokens outside the engine: what `export` gives and `Restore` takes back, opaque to all others. */
export interface BlockPayload {
  tokens: Uint32Array;
  /** `tokens.length * kvTokenBytes` bytes, laid out as the card's `kvNumbers` say. */
  data: Uint8Array;
}

export interface KeyedBlock extends BlockPayload {
  key: EngineKey;
}

/** What blocks are outside their engine, fixed for one epoch. */
export interface KvCard {
  /** Hex SHA-256 over engine release, weights, KV types and layout, and block size: blocks of equal spaces can be exchanged. */
  kvSpace: string;
  /** Tokens in one block. */
  blockTokens: number;
  /** KV bytes of one token. */
  kvTokenBytes: number;
  /** Where the floating-point numbers lie in a block's data: those that are not finite are refused before the engine. Empty: the data is opaque. */
  kvNumbers: readonly KvNumbers[];
}

/** A prompt that the engine would run, and what of its KV is there. */
export interface PreparedKv extends Prepared {
  tokens: Uint32Array;
  /** One a full block. */
  blockKeys: EngineKey[];
  /** Leading blocks that some sequence holds now. */
  heldBlocks: number;
  /** Most blocks that can be reused: at least two tokens are always computed, unless a tail comes too. */
  reusableBlocks: number;
}

/** The first token of an answer, sampled where the prompt was computed. */
export interface FirstToken {
  token: number;
  /** UTF-8 of the token. */
  bytes: Uint8Array;
  logprobs: TokenLogprob | null;
}

/** KV that comes with a request. The engine takes what it lacks and computes the rest; what does not fit the prompt's own tokens is refused whole. */
export interface Restore {
  /** Block index of `blocks[0]`. */
  from: number;
  blocks: readonly BlockPayload[];
  /** The tokens after the last full block and the first token of the answer: the whole prompt was computed elsewhere. */
  tail: { payload: BlockPayload; first: FirstToken } | null;
}

/** What a prefill for another replica gives. Ends the run instead of `finished`. */
export interface Prefilled {
  type: "prefilled";
  promptTokens: number;
  cachedTokens: number;
  /** What it took to put a restore in place, 0 without one; part of `prefillMs`. */
  restoreMs: number;
  prefillMs: number;
  first: FirstToken;
  /** Full blocks of the prompt that `wanted` named and that are held. */
  blocks: KeyedBlock[];
  tail: BlockPayload;
}

/** What helps a prefill for another replica, and who hears of it. */
export interface PrefillOptions {
  /** KV from a lower tier of this replica. */
  restore?: Restore | undefined;
  /** Prompt tokens that are computed or held so far; grows. */
  progressed?: (tokens: number) => void;
}

/** Blocks out of the engine and into it, within one KV space. */
export interface KvExchange {
  readonly card: KvCard;
  /** As `Engine.prepare`; names what could be reused or restored. */
  prepare(request: EngineRequest): Promise<PreparedKv | EngineRefusal>;
  /** As `Engine.run`, with KV that comes along. `started.cachedTokens` counts what was restored as well; what is not used counts in `faults.restores`. */
  import(request: EngineRequest, restore: Restore): Promise<EngineRun | EngineRefusal>;
  /** Reads blocks out of device memory, between steps, in the order asked; those that are gone by then are left out. */
  export(keys: readonly EngineKey[]): Promise<KeyedBlock[]>;
  /** Computes the prompt and its first token, and gives the KV away. `wanted`: keys the other side lacks. The signal ends it within one step, as "failed". */
  prefill(
    request: EngineRequest,
    wanted: ReadonlySet<EngineKey>,
    signal: AbortSignal,
    options?: PrefillOptions,
  ): Promise<Prefilled | EngineRefusal | { type: "failed"; message: string }>;
  /** Keys of the full blocks of these tokens, as a prompt of this salt would have them; none while the engine is down. */
  blockKeys(tokens: Uint32Array, salt: string): Promise<EngineKey[]>;
}
