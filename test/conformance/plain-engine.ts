/** An engine without a KV part, in memory: a token is a character, and an answer is words that follow from its prompt and seed. */
import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import {
  COUNTED_BEYOND_CONTEXT,
  type Counted,
  type Engine,
  type EngineCard,
  type EngineEvent,
  type EngineLoad,
  type EngineRefusal,
  type EngineRequest,
  type EngineRun,
  type FinishReason,
  type Prepared,
} from "../../gpu-backend/engine/engine.ts";
import { chatMlTemplate } from "../../gpu-backend/engine/llama-cpp/chat-template.ts";

const LAST_CHARACTER = 0x10_ffff;
const WORDS = ["amber ", "birch ", "cedar ", "delta ", "ember ", "fjord ", "grove ", "heath "] as const;

const unavailable = (message: string): EngineRefusal => ({ type: "refused", reason: "unavailable", message });

export type PlainOptions = Pick<EngineCard, "sequences" | "queueLimit" | "contextTokens">;

export class PlainEngine implements Engine {
  readonly card: EngineCard;
  readonly kv = null;
  readonly faults = { restores: 0, notFinite: 0 };
  /** In the order in which they came. */
  readonly #runs = new Map<string, PlainRun>();
  #closed = false;

  constructor({ sequences, queueLimit, contextTokens }: PlainOptions) {
    this.card = {
      model: "plain",
      contextTokens,
      blockTokens: 32,
      sequences,
      kvTokens: sequences * contextTokens,
      queueLimit,
      chatTemplate: chatMlTemplate,
      specialTokens: {},
      longestTokenBytes: 4,
      release: "plain 1",
    };
  }

  prepare(request: EngineRequest): Promise<Prepared | EngineRefusal> {
    return Promise.resolve(this.#read(request));
  }

  run(request: EngineRequest): Promise<EngineRun | EngineRefusal> {
    const read = this.#read(request);
    if (read.type === "refused") return Promise.resolve(read);
    if (this.#runs.has(request.id)) return Promise.resolve(unavailable(`a run ${request.id} exists already`));
    const { sequences, queueLimit, contextTokens } = this.card;
    if (this.#runs.size >= sequences + queueLimit)
      return Promise.resolve({ type: "refused", reason: "busy", message: "the queue is full" });
    const maxTokens = Math.min(request.maxTokens, contextTokens - read.tokens.length);
    const run = new PlainRun({ ...request, maxTokens }, read.tokens, () => {
      this.#runs.delete(request.id);
      this.#startNext();
    });
    this.#runs.set(request.id, run);
    this.#startNext();
    return Promise.resolve({ type: "accepted", events: run.events(), abort: () => run.end("cancelled") });
  }

  load(): EngineLoad {
    const running = this.#running();
    const usedKvTokens = running.reduce((sum, run) => sum + run.tokens, 0);
    return { running: running.length, queued: this.#runs.size - running.length, usedKvTokens };
  }

  count(prompt: string): Promise<Counted | EngineRefusal> {
    if (this.#closed) return Promise.resolve(unavailable("the engine is closed"));
    const most = this.card.contextTokens + COUNTED_BEYOND_CONTEXT + 1;
    return Promise.resolve({ type: "counted", tokens: Math.min(charactersOf(prompt).length, most) });
  }

  /** It never dies alone. */
  onRestart(): void {}

  close(): Promise<void> {
    this.#closed = true;
    for (const run of this.#runs.values()) run.end("error", "the engine was closed");
    return Promise.resolve();
  }

  #running(): PlainRun[] {
    return [...this.#runs.values()].filter((run) => run.hasStarted);
  }

  #startNext(): void {
    if (this.#closed) return;
    for (const run of this.#runs.values()) if (this.#running().length < this.card.sequences) run.start();
  }

  #read({ prompt, tokens: given, grammar }: EngineRequest): (Prepared & { tokens: Uint32Array }) | EngineRefusal {
    if (this.#closed) return unavailable("the engine is closed");
    const tokens = given === undefined ? charactersOf(prompt) : Uint32Array.from(given);
    const index = tokens.findIndex((token) => token > LAST_CHARACTER);
    if (index >= 0) return { type: "refused", reason: "unknown_token", index, message: "it is no character" };
    const { contextTokens } = this.card;
    if (tokens.length >= contextTokens) {
      const message = `the prompt has ${tokens.length} tokens, the context ${contextTokens}`;
      return { type: "refused", reason: "context_length_exceeded", promptTokens: tokens.length, exact: true, contextTokens, message };
    }
    if (grammar !== null) return { type: "refused", reason: "grammar", message: "this engine follows no grammar", place: null };
    return { type: "prepared", tokens };
  }
}

class PlainRun {
  hasStarted = false;
  #outputTokens = 0;
  #ended: { reason: FinishReason; message?: string } | null = null;
  readonly #request: EngineRequest;
  readonly #promptTokens: Uint32Array;
  readonly #onEnd: () => void;
  readonly #turn = Promise.withResolvers<void>();

  constructor(request: EngineRequest, promptTokens: Uint32Array, onEnd: () => void) {
    this.#request = request;
    this.#promptTokens = promptTokens;
    this.#onEnd = onEnd;
  }

  get tokens(): number {
    return this.#promptTokens.length + this.#outputTokens;
  }

  start(): void {
    this.hasStarted = true;
    this.#turn.resolve();
  }

  end(reason: FinishReason, message?: string): void {
    if (this.#ended !== null) return;
    this.#ended = message === undefined ? { reason } : { reason, message };
    this.#turn.resolve();
    this.#onEnd();
  }

  async *events(): AsyncGenerator<EngineEvent> {
    try {
      yield { type: "queued", promptTokens: this.#promptTokens.length, blocks: null };
      await this.#turn.promise;
      let stopText: string | null = null;
      if (this.#ended === null) {
        yield { type: "started", cachedTokens: 0, restoreMs: 0 };
        stopText = yield* this.#deltas();
      }
      yield this.#finished(stopText);
    } finally {
      this.end("cancelled");
    }
  }

  /** Returns the stop string that ended it. */
  async *#deltas(): AsyncGenerator<EngineEvent, string | null> {
    const { stop, maxTokens } = this.#request;
    const longestStop = stop.reduce((most, text) => Math.max(most, text.length), 1);
    let untold = 0;
    let kept = "";
    while (this.#ended === null && this.#outputTokens < maxTokens) {
      await turn();
      kept += this.#word(this.#outputTokens);
      this.#outputTokens += 1;
      untold += 1;
      const found = stop.map((text) => ({ text, at: kept.indexOf(text) })).filter(({ at }) => at >= 0);
      const [first] = found.toSorted((one, other) => one.at - other.at);
      // What may be the beginning of a stop string waits for the rest of it.
      const text = first === undefined ? kept.slice(0, kept.length - longestStop + 1) : kept.slice(0, first.at);
      kept = kept.slice(text.length);
      if (text !== "") yield { type: "delta", text, tokens: untold, logprobs: null };
      if (text !== "") untold = 0;
      if (first === undefined) continue;
      this.end("stop");
      return first.text;
    }
    if (this.#ended === null && kept !== "") yield { type: "delta", text: kept, tokens: untold, logprobs: null };
    this.end("length");
    return null;
  }

  #word(index: number): string {
    const { temperature, seed } = this.#request;
    const hash = createHash("sha256")
      .update(this.#promptTokens)
      .update(`${temperature > 0 ? seed : ""} ${index}`);
    return WORDS[(hash.digest()[0] ?? 0) % WORDS.length] ?? WORDS[0];
  }

  #finished(stopText: string | null): EngineEvent {
    const counts = { promptTokens: this.#promptTokens.length, cachedTokens: 0, outputTokens: this.#outputTokens };
    return { type: "finished", ...(this.#ended ?? { reason: "length" }), ...counts, prefillMs: 0, decodeMs: 0, stopText };
  }
}

function charactersOf(text: string): Uint32Array {
  return Uint32Array.from(Array.from(text, (character) => character.codePointAt(0) ?? 0));
}
