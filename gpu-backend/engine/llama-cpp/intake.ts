/** Turns requests into runs: tokens, keys, sampler; or says why not. */
import { COUNTED_BEYOND_CONTEXT, type EngineKey, type EngineRefusal, type Restore } from "../engine.ts";
import type { Addon, GrammarState } from "./binding.ts";
import { blockKeys } from "./block-keys.ts";
import type { Grammars } from "./grammars.ts";
import type { KvNumbers } from "../kv-numbers.ts";
import type { KvLayout } from "./kv-state.ts";
import type { ChildRequest } from "./messages.ts";
import { checkRestore, type CheckedRestore } from "./restore.ts";
import { Run, type HandOver } from "./run.ts";
import { RunSampler } from "./sampling.ts";
import { Utf8Guard } from "./utf8-guard.ts";
import type { Tokenized, Tokenizer } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

interface IntakeParts {
  addon: Addon;
  vocabulary: Vocabulary;
  tokenizer: Tokenizer;
  grammars: Grammars;
  /** Hash of everything that makes KV exchangeable. */
  root: Buffer;
  layout: KvLayout;
  numbers: readonly KvNumbers[];
  contextTokens: number;
  blockTokens: number;
}

interface ReadPrompt {
  type: "read";
  tokens: Uint32Array;
  keys: EngineKey[];
}

export class Intake {
  readonly #parts: IntakeParts;
  readonly #utf8: Utf8Guard;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#utf8 = new Utf8Guard(parts.vocabulary);
  }

  async read(request: ChildRequest): Promise<ReadPrompt | EngineRefusal> {
    const { root, blockTokens } = this.#parts;
    const given = request.tokens === undefined ? null : this.#given(request.tokens);
    const tokens = given ?? (await this.#fitting(request.prompt, request.cuts));
    if ("reason" in tokens) return tokens;
    if (tokens.length === 0) return { type: "refused", reason: "unavailable", message: "the prompt has no tokens" };
    return { type: "read", tokens, keys: blockKeys(root, request.salt, tokens, blockTokens) };
  }

  /** Tokens that its client or `prepare` gave. */
  #given(given: Uint32Array | readonly number[]): Uint32Array | EngineRefusal {
    const { vocabulary } = this.#parts;
    const index = given.findIndex((token) => token >= vocabulary.size);
    if (index !== -1)
      return { type: "refused", reason: "unknown_token", index, message: `the model's tokens end at ${vocabulary.size - 1}` };
    return this.#fits(given) ? Uint32Array.from(given) : this.#tooLong(given.length, true);
  }

  /** How many tokens a prompt is; of one that is far too long, how many were counted. */
  async count(prompt: string, cuts: readonly number[]): Promise<number> {
    const tokenized = await this.#tokenize(prompt, cuts);
    return tokenized.type === "tokens" ? tokenized.tokens.length : tokenized.atLeast;
  }

  #tokenize(prompt: string, cuts: readonly number[] | undefined): Promise<Tokenized> {
    return this.#parts.tokenizer.tokens(prompt, cuts, this.#parts.contextTokens + COUNTED_BEYOND_CONTEXT);
  }

  async #fitting(prompt: string, cuts: readonly number[] | undefined): Promise<Uint32Array | EngineRefusal> {
    const tokenized = await this.#tokenize(prompt, cuts);
    if (tokenized.type === "too_many") return this.#tooLong(tokenized.atLeast, false);
    return this.#fits(tokenized.tokens) ? tokenized.tokens : this.#tooLong(tokenized.tokens.length, true);
  }

  /** With room for an answer. */
  #fits(tokens: ArrayLike<number>): boolean {
    return this.#parts.contextTokens - 1 - tokens.length >= 1;
  }

  /** Not `exact`: there are more. */
  #tooLong(promptTokens: number, exact: boolean): EngineRefusal {
    const { contextTokens } = this.#parts;
    const has = `the prompt has ${exact ? "" : "at least "}${promptTokens} tokens`;
    const message = `${has}; the context holds ${contextTokens} and needs room for an answer`;
    return { type: "refused", reason: "context_length_exceeded", promptTokens, exact, contextTokens, message };
  }

  /** Both what it reads and what it must write. */
  async prepare(request: ChildRequest): Promise<ReadPrompt | EngineRefusal> {
    const read = await this.read(request);
    if (read.type === "refused") return read;
    const grammar = this.#grammar(request);
    return grammar !== undefined && "reason" in grammar ? grammar : read;
  }

  async run(request: ChildRequest, handOver?: HandOver): Promise<Run | EngineRefusal> {
    const { addon, vocabulary, contextTokens } = this.#parts;
    const read = await this.read(request);
    if (read.type === "refused") return read;
    const grammar = this.#grammar(request);
    if (grammar !== undefined && "reason" in grammar) return grammar;
    const sampler = new RunSampler({ addon, vocabulary, utf8: this.#utf8, contextTokens }, request, grammar);
    const maxTokens = Math.min(request.maxTokens, contextTokens - 1 - read.tokens.length);
    return new Run({ request, tokens: read.tokens, keys: read.keys, maxTokens, handOver }, sampler);
  }

  /** Undefined: anything may be written. */
  #grammar(request: ChildRequest): GrammarState | EngineRefusal | undefined {
    if (request.gbnf === null) return undefined;
    const start = this.#parts.grammars.start(request.gbnf);
    return start.type === "made" ? start.state : { type: "refused", reason: "grammar", message: start.message, place: null };
  }

  /** Undefined when it does not fit the run. */
  check(restore: Restore, run: Run): CheckedRestore | undefined {
    const { layout, numbers, blockTokens, vocabulary } = this.#parts;
    const first = restore.tail?.first;
    if (first !== undefined) {
      if (!Number.isSafeInteger(first.token) || first.token < 0 || first.token >= vocabulary.size) return undefined;
      if (run.topLogprobs !== null && first.logprobs === null) return undefined;
    }
    return checkRestore(restore, run.tokens, { layout, numbers, blockTokens });
  }
}
