/** A prompt as the server reads it: as tokens where it tokenizes, else as text of a length that is estimated. */
import { performance } from "node:perf_hooks";
import { COUNTED_BEYOND_CONTEXT, type EngineRequest } from "../engine.ts";
import { tokenize } from "./discovery.ts";
import type { ServerLink } from "./server-link.ts";

export interface ReadPrompt {
  prompt: string | number[];
  promptTokens: number;
  /** False: estimated. */
  exact: boolean;
}

/** All pieces together. The edge must hear soon that its request is here; a server that takes longer reads the prompt itself. */
const TOKENIZE_MS = 1_000;
/** At once. */
const MAX_CALLS = 8;
/** Of English in the vocabularies of today, about. */
const BYTES_PER_TOKEN = 4;
/** A learnt figure outside of this is no tokenizer's. */
const MIN_BYTES = 0.5;
const MAX_BYTES = 16;
/** Weight of one request in the learnt figure. */
const LEARN = 0.1;
/** Of shorter prompts what the server adds is most. */
const MIN_LEARNT_TOKENS = 64;
/** Pieces of one prompt that are tokenized apart. */
const MAX_CUTS = 256;

export class PromptTokens {
  readonly #link: ServerLink;
  readonly #model: string;
  readonly #tokenizes: boolean;
  #bytesPerToken = BYTES_PER_TOKEN;

  constructor(link: ServerLink, model: string, tokenizes: boolean) {
    this.#link = link;
    this.#model = model;
    this.#tokenizes = tokenizes;
  }

  /** As text where the server does not tokenize in time. Null: then a mark that a client's text spells would be a mark. */
  async read({ prompt, cuts, tokens }: Pick<EngineRequest, "prompt" | "cuts" | "tokens">): Promise<ReadPrompt | null> {
    if (tokens !== undefined) return { prompt: Array.from(tokens), promptTokens: tokens.length, exact: true };
    if (!this.#tokenizes) return { prompt, promptTokens: this.#estimate(prompt), exact: false };
    const found = await this.#tokenize(prompt, cuts ?? []);
    if (found !== null) return { prompt: found, promptTokens: found.length, exact: true };
    return cuts === undefined || cuts.length === 0 ? { prompt, promptTokens: this.#estimate(prompt), exact: false } : null;
  }

  /** Learns that a prompt of text had this number of tokens. */
  learn(prompt: string, promptTokens: number): void {
    if (promptTokens < MIN_LEARNT_TOKENS) return;
    const bytes = Math.min(MAX_BYTES, Math.max(MIN_BYTES, Buffer.byteLength(prompt) / promptTokens));
    this.#bytesPerToken += (bytes - this.#bytesPerToken) * LEARN;
  }

  #estimate(prompt: string): number {
    return Math.max(1, Math.ceil(Buffer.byteLength(prompt) / this.#bytesPerToken));
  }

  async #tokenize(prompt: string, cuts: readonly number[]): Promise<number[] | null> {
    if (cuts.length > MAX_CUTS) return null;
    const ends = [...cuts, prompt.length];
    const pieces = ends.map((end, index) => ({ text: prompt.slice(ends[index - 1] ?? 0, end), opens: index === 0 }));
    const endsAtMs = performance.now() + TOKENIZE_MS;
    const parts: number[] = [];
    for (let from = 0; from < pieces.length; from += MAX_CALLS) {
      const ms = Math.max(1, endsAtMs - performance.now());
      const some = pieces.slice(from, from + MAX_CALLS);
      const found = await Promise.all(some.map((piece) => tokenize(this.#link, this.#model, piece, ms)));
      for (const tokens of found) {
        if (tokens === null) return null;
        for (const token of tokens) parts.push(token);
      }
    }
    return parts;
  }
}

/** The number that callers get. */
export function countedTokens(promptTokens: number, contextTokens: number): number {
  return Math.min(promptTokens, contextTokens + COUNTED_BEYOND_CONTEXT + 1);
}
