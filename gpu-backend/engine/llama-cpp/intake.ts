/** Turns requests into runs: tokens, keys, sampler; or says why not. */
import type { EngineKey, EngineRefusal, Restore } from "../engine.ts";
import { type Addon, type GrammarState, tokensOf } from "./binding.ts";
import { blockKeys } from "./block-keys.ts";
import type { Grammars } from "./grammars.ts";
import type { KvNumbers } from "../kv-numbers.ts";
import type { KvLayout } from "./kv-state.ts";
import type { ChildRequest } from "./messages.ts";
import { checkRestore } from "./restore.ts";
import type { CheckedRestore } from "./restore.ts";
import { Run } from "./run.ts";
import type { HandOver } from "./run.ts";
import { RunSampler } from "./sampling.ts";
import { Utf8Guard } from "./utf8-guard.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface IntakeParts {
  addon: Addon;
  vocabulary: Vocabulary;
  grammars: Grammars;
  /** Hash of everything that makes KV exchangeable. */
  root: Buffer;
  layout: KvLayout;
  numbers: readonly KvNumbers[];
  contextTokens: number;
  blockTokens: number;
}

export interface ReadPrompt {
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

  read(request: ChildRequest): ReadPrompt | EngineRefusal {
    const { addon, contextTokens, root, blockTokens, vocabulary } = this.#parts;
    const index = request.tokens?.findIndex((token) => token >= vocabulary.size) ?? -1;
    if (index !== -1)
      return { type: "refused", reason: "unknown_token", index, message: `the model's tokens end at ${vocabulary.size - 1}` };
    const tokens = request.tokens === undefined ? tokensOf(addon.model, request.prompt, request.cuts) : Uint32Array.from(request.tokens);
    if (contextTokens - 1 - tokens.length < 1) {
      const message = `the prompt has ${tokens.length} tokens; the context holds ${contextTokens} and needs room for an answer`;
      return { type: "refused", reason: "context_length_exceeded", promptTokens: tokens.length, contextTokens, message };
    }
    if (tokens.length === 0) return { type: "refused", reason: "unavailable", message: "the prompt has no tokens" };
    return { type: "read", tokens, keys: blockKeys(root, request.salt, tokens, blockTokens) };
  }

  /** Both what it reads and what it must write. */
  prepare(request: ChildRequest): ReadPrompt | EngineRefusal {
    const read = this.read(request);
    if (read.type === "refused") return read;
    const grammar = this.#grammar(request);
    return grammar !== undefined && "reason" in grammar ? grammar : read;
  }

  run(request: ChildRequest, handOver?: HandOver): Run | EngineRefusal {
    const { addon, vocabulary, contextTokens } = this.#parts;
    const read = this.read(request);
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
