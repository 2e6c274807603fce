/**
 * What the replica asks of an engine, whichever it is: text in, text out, and the truth about which KV blocks it holds.
 *
 * Example of one run's events, prompt of 70 tokens, 32-token blocks, 32 of them held already:
 *   {type: "queued",  promptTokens: 70, tokenEnds: Uint32Array(70), blockKeys: [k0, k1]}
 *   {type: "started", cachedTokens: 32}
 *   {type: "delta",   text: "Hel", tokens: 1} …
 *   {type: "finished", reason: "stop", promptTokens: 70, cachedTokens: 32, outputTokens: 5, prefillMs: 8.1, decodeMs: 4.0}
 */

import type { KvNumbers } from "./kv-numbers.ts";

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
  /** Hex SHA-256 over engine release, weights, KV types and layout, and block size: blocks of equal spaces can be exchanged. */
  kvSpace: string;
  /** KV bytes of one token outside the engine. */
  kvTokenBytes: number;
  /** Where the floating-point numbers lie in a block's data: those that are not finite are refused before the engine. Empty: the data is opaque. */
  kvNumbers: readonly KvNumbers[];
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
  /** How many alternatives each token is told with, 0 … 20; null = no logprobs. */
  logprobs: number | null;
  /** What the text must match; null = anything. */
  grammar: Grammar | null;
}

/** A request's settings when it asks for nothing special. */
export const plainSampling = {
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: new Map<number, number>(),
  logprobs: null,
  grammar: null,
} satisfies Partial<EngineRequest>;

/** Text of one JSON value. `strict`: what of the schema can't be held is refused; else it alone is left out. */
export type FormatGrammar = { type: "json_object" } | { type: "json_schema"; schema: unknown; strict: boolean };

export interface GrammarTool {
  name: string;
  /** JSON Schema of the arguments, which are an object always; nothing in it: `{}`. */
  parameters: unknown;
  strict: boolean;
}

/** Without free white space, so that an untrained model ends too. */
export type Grammar =
  | FormatGrammar
  /**
   * One call or more (one if not parallel) of these tools, each `<tool_call>{"name":…,"arguments":…}</tool_call>`; or text of the format
   * instead, where one is given.
   */
  | { type: "tool_calls"; tools: readonly GrammarTool[]; parallel: boolean; otherwise: FormatGrammar | null };

/** Where in a grammar's schemas: of the format (null) or of the tool at this index, and a JSON pointer that begins with #. */
export interface GrammarPlace {
  tool: number | null;
  pointer: string;
}

export interface TokenLogprob {
  token: string;
  bytes: readonly number[];
  logprob: number;
  top: readonly { token: string; bytes: readonly number[]; logprob: number }[];
}

export type FinishReason = "stop" | "length" | "cancelled" | "error";

export type EngineEvent =
  /** First event: the prompt as tokens. `tokenEnds[i]` is the UTF-8 byte offset in `prompt` at which token i ends. `blockKeys` has one key a full block. */
  | { type: "queued"; promptTokens: number; tokenEnds: Uint32Array; blockKeys: EngineKey[] }
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

/** Keys and values of consecutive tokens outside the engine: what `exportBlocks` gives and `Restore` takes back, opaque to all others. */
export interface BlockPayload {
  tokens: Uint32Array;
  /** `tokens.length * card.kvTokenBytes` bytes. */
  data: Uint8Array;
}

export interface KeyedBlock extends BlockPayload {
  key: EngineKey;
}

/** A prompt as tokens, before it runs. */
export interface Prepared {
  type: "prepared";
  tokens: Uint32Array;
  /** One a full block. */
  blockKeys: EngineKey[];
  /** Leading blocks that some sequence holds now. */
  heldBlocks: number;
  /** At most so many blocks can be reused: at least two tokens are always computed, unless a tail comes too. */
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

export interface EngineRun {
  type: "accepted";
  /** Ends after `finished`. Pulling slowly slows only this run. */
  events: AsyncIterable<EngineEvent>;
  /** Frees the sequence within one step; the run still ends with `finished` (reason "cancelled"). Idempotent. */
  cancel(): void;
}

/** A block entered or left the device tier. Reported at the moment it changes, in order, and before the `delta` that its computation allowed. */
export interface BlockChange {
  key: EngineKey;
  held: boolean;
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

/** A prompt that is too long is counted so many tokens beyond the context and no further: clients shorten it by what they are told. */
export const COUNTED_BEYOND_CONTEXT = 65_536;

export interface Engine {
  readonly card: EngineCard;
  readonly faults: EngineFaults;
  /** Tokenises only; names what could be reused or restored. */
  prepare(request: EngineRequest): Promise<Prepared | EngineRefusal>;
  /** `restore`: KV from a lower tier or another replica. `started.cachedTokens` counts what was restored as well. */
  submit(request: EngineRequest, restore?: Restore): Promise<EngineRun | EngineRefusal>;
  /** Keys of the full blocks of these tokens, as a prompt of this salt would have them. */
  blockKeys(tokens: Uint32Array, salt: string): Promise<EngineKey[]>;
  /** Computes the prompt and its first token, and gives the KV away. `wanted`: keys the other side lacks. The signal ends it within one step. */
  prefill(
    request: EngineRequest,
    wanted: ReadonlySet<EngineKey>,
    signal: AbortSignal,
    options?: PrefillOptions,
  ): Promise<Prefilled | EngineRefusal | { type: "failed"; message: string }>;
  /** Reads blocks out of device memory, between steps; those that are gone by then are left out. */
  exportBlocks(keys: readonly EngineKey[]): Promise<KeyedBlock[]>;
  /** Every change of residency since the engine's start. One listener. */
  onBlocks(listener: (changes: BlockChange[]) => void): void;
  /** The engine died and is back, empty: a new epoch. All runs have ended with reason "error". One listener. */
  onRestart(listener: () => void): void;
  load(): EngineLoad;
  /** How many tokens a rendered prompt is, or a number above `COUNTED_BEYOND_CONTEXT`'s limit; `cuts` as in a request. Rejects while the engine is down. */
  countTokens(prompt: string, cuts?: readonly number[]): Promise<number>;
  close(): Promise<void>;
}
