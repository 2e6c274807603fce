/** Turns requests into runs: tokens, keys, sampler; or says why not. */
import type { EngineRefusal, EngineRequest, EngineKey, Restore } from "../engine.ts";
import type { Addon } from "./binding.ts";
import { blockKeys } from "./block-keys.ts";
import type { Grammars } from "./grammars.ts";
import type { KvNumbers } from "../kv-numbers.ts";
import type { KvLayout } from "./kv-state.ts";
import { checkRestore } from "./restore.ts";
import type { CheckedRestore } from "./restore.ts";
import { Run } from "./run.ts";
import type { HandOver } from "./run.ts";
import { RunSampler } from "./sampling.ts";
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

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  read(request: EngineRequest): ReadPrompt | EngineRefusal {
    const { addon, contextTokens, root, blockTokens } = this.#parts;
    const tokens = addon.model.tokenize(request.prompt, true);
    if (contextTokens - 1 - tokens.length < 1) {
      const message = `the prompt has ${tokens.length} tokens; the context holds ${contextTokens} and needs room for an answer`;
      return { type: "refused", reason: "context_length_exceeded", promptTokens: tokens.length, contextTokens, message };
    }
    if (tokens.length === 0) return { type: "refused", reason: "unavailable", message: "the prompt has no tokens" };
    return { type: "read", tokens, keys: blockKeys(root, request.salt, tokens, blockTokens) };
  }

  run(request: EngineRequest, handOver?: HandOver): Run | EngineRefusal {
    const { addon, vocabulary, grammars, contextTokens } = this.#parts;
    const read = this.read(request);
    if (read.type === "refused") return read;
    const grammar = request.grammar === null ? undefined : grammars.start(request.grammar);
    if (grammar?.type === "unsupported") return { type: "refused", reason: "grammar", message: grammar.message };
    const sampler = new RunSampler(addon, vocabulary, request, contextTokens, grammar?.state);
    const maxTokens = Math.min(request.maxTokens, contextTokens - 1 - read.tokens.length);
    return new Run({ request, tokens: read.tokens, keys: read.keys, maxTokens, handOver }, sampler);
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
