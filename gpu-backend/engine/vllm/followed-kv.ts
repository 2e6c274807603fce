/** A vLLM's KV as it is followed: its events, the keys of prompts' blocks, and where the tokens of prompts end. */
import { tokenTexts } from "../openai/discovery.ts";
import type { Followed, PromptRead } from "../openai/followed.ts";
import type { ServerLink } from "../openai/server-link.ts";
import type { EngineKey } from "../engine.ts";
import type { KvEventCounts, ResidencyState } from "../residency-state.ts";
import { EventReader, type Timers, type ZeroMq } from "./event-reader.ts";
import type { EventSource } from "./event-sources.ts";
import { VllmResidency } from "./residency.ts";
import { TokenTexts } from "./token-ends.ts";

/** Later than that a prompt is not anchored: what it leaves is predicted, and corrected by what the engine reports as cached. */
const TEXTS_MS = 2_000;
/** Prompts whose tokens are asked for at once; further ones are not anchored. Texts are remembered, so that soon none has to be asked for. */
const MAX_ASKED = 4;
const MAX_PIECES = 32;

interface FollowOptions {
  link: ServerLink;
  /** Name by which the server knows the model. */
  model: string;
  adapter: string | null;
  blockTokens: number;
  zmq: typeof ZeroMq;
  source: EventSource;
  timers: Timers;
}

export class FollowedKv implements Followed {
  readonly kv: VllmResidency;
  readonly #options: FollowOptions;
  readonly #reader: EventReader;
  readonly #texts = new TokenTexts();
  readonly #ending = new AbortController();
  #asked = 0;

  /** Throws where the endpoint can't be used. */
  static async open(options: FollowOptions): Promise<FollowedKv> {
    const residency = new VllmResidency(options.blockTokens, options.adapter);
    const { zmq, source, timers } = options;
    const reader = await EventReader.open({ zmq, source, timers, onSteps: (steps) => residency.apply(steps) });
    return new FollowedKv(options, residency, reader);
  }

  private constructor(options: FollowOptions, residency: VllmResidency, reader: EventReader) {
    this.#options = options;
    this.kv = residency;
    this.#reader = reader;
  }

  state(): ResidencyState {
    return this.kv.state(this.#reader.seen);
  }

  counts(): KvEventCounts {
    return this.#reader.counts;
  }

  keysOf(tokens: readonly number[], salt: string): EngineKey[] {
    return this.kv.names.ofPrompt(Uint32Array.from(tokens), salt);
  }

  heldTokens(keys: readonly EngineKey[], promptTokens: number): number {
    return this.kv.heldTokens(keys, promptTokens);
  }

  tokenEnds(read: PromptRead): Uint32Array | Promise<Uint32Array | null> {
    const known = this.#texts.endsOf(read);
    if (known === "unknown") return this.#askEnds(read);
    return known === "other" ? Promise.resolve(null) : known;
  }

  lost(): void {
    this.#reader.restarted();
  }

  close(): void {
    this.#ending.abort();
    this.#reader.close();
  }

  async #askEnds(read: PromptRead): Promise<Uint32Array | null> {
    if (this.#asked >= MAX_ASKED || read.cuts.length >= MAX_PIECES) return null;
    const { link, model } = this.#options;
    const ends = [...read.cuts, read.prompt.length];
    this.#asked += 1;
    try {
      for (const [index, end] of ends.entries()) {
        const piece = { text: read.prompt.slice(ends[index - 1] ?? 0, end), opens: index === 0 };
        const found = await tokenTexts(link, model, piece, TEXTS_MS);
        if (found === null || this.#ending.signal.aborted) return null;
        this.#texts.learn(found.tokens, found.texts);
      }
    } finally {
      this.#asked -= 1;
    }
    const known = this.#texts.endsOf(read);
    return typeof known === "string" ? null : known;
  }
}
