/**
 * A server that speaks OpenAI's API as an engine: its /v1/completions computes prompts that the replica renders. It has no KV part; what
 * its cache holds is believed (prefix-memory.ts) and corrected by what it reports. docs/decisions/0027.
 */
import {
  type Counted,
  type Engine,
  type EngineCard,
  type EngineLoad,
  type EngineRefusal,
  type EngineRequest,
  type EngineRun,
  type Prepared,
} from "../engine.ts";
import { completionBody, grammarProblem, type ServerUsage } from "./completion.ts";
import type { ServerKind } from "./discovery.ts";
import { PrefixMemory } from "./prefix-memory.ts";
import { countedTokens, PromptTokens, type ReadPrompt } from "./prompt-tokens.ts";
import { refusalOf } from "./refusal.ts";
import { OpenAiRun } from "./run.ts";
import type { ServerLink } from "./server-link.ts";

export interface OpenAiEngineOptions {
  link: ServerLink;
  kind: ServerKind;
  /** Name by which the server knows the model. */
  serverModel: string;
  tokenizes: boolean;
  card: EngineCard;
}

/** A server says within this whether it takes a request; later than that, an error ends the run. */
const OPENED_WITHIN_MS = 1_000;
const PROBE_MS = 2_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** Of a length that is estimated so much may be wrong. */
const ESTIMATE_MARGIN = 0.25;

const idle: EngineLoad = { running: 0, queued: 0, usedKvTokens: 0 };
const unavailable = (message: string): EngineRefusal => ({ type: "refused", reason: "unavailable", message });

export class OpenAiEngine implements Engine {
  readonly card: EngineCard;
  readonly kv = null;
  readonly faults = { restores: 0, notFinite: 0 };
  readonly #options: OpenAiEngineOptions;
  readonly #prompts: PromptTokens;
  readonly #memory: PrefixMemory;
  /** In the order in which they came. */
  readonly #runs = new Map<string, OpenAiRun>();
  readonly #ending = new AbortController();
  #reportsCached = false;
  #isDown = false;
  #probeTimer: NodeJS.Timeout | undefined;
  #restartListener: () => void = () => undefined;

  constructor(options: OpenAiEngineOptions) {
    const { card, link, serverModel, tokenizes } = options;
    this.card = card;
    this.#options = options;
    this.#prompts = new PromptTokens(link, serverModel, tokenizes);
    this.#memory = new PrefixMemory(card.kvTokens, card.blockTokens);
  }

  async prepare(request: EngineRequest): Promise<Prepared | EngineRefusal> {
    const read = await this.#read(request);
    if ("reason" in read) return read;
    return { type: "prepared", tokens: typeof read.prompt === "string" ? null : Uint32Array.from(read.prompt) };
  }

  async run(request: EngineRequest): Promise<EngineRun | EngineRefusal> {
    const read = await this.#read(request);
    if ("reason" in read) return read;
    const down = this.#refusalWhileDown();
    if (down !== null) return down;
    if (this.#runs.has(request.id)) return unavailable(`a run ${request.id} exists already`);
    const { sequences, queueLimit } = this.card;
    if (this.#runs.size >= sequences + queueLimit) return { type: "refused", reason: "busy", message: "The engine's queue is full." };
    const run = this.#enter(request, read);
    // One that waits is taken: how the server sees it shows when its turn comes.
    const opening = await run.opening(OPENED_WITHIN_MS);
    if (opening !== null && opening.type !== "stream" && !(opening.type === "failed" && opening.why === "aborted")) {
      run.end("error");
      return refusalOf(opening, request, this.card.contextTokens);
    }
    return { type: "accepted", events: run.events(), abort: () => run.end("cancelled") };
  }

  load(): EngineLoad {
    if (this.#refusalWhileDown() !== null) return idle;
    const running = [...this.#runs.values()].filter((run) => run.hasStarted);
    const usedKvTokens = running.reduce((sum, run) => sum + run.tokens, 0);
    return { running: running.length, queued: this.#runs.size - running.length, usedKvTokens };
  }

  async count(prompt: string, cuts: readonly number[] = []): Promise<Counted | EngineRefusal> {
    const down = this.#refusalWhileDown();
    if (down !== null) return down;
    const read = await this.#prompts.read({ prompt, cuts });
    if (read === null) return unavailable("The engine's server does not count a prompt now.");
    return { type: "counted", tokens: countedTokens(read.promptTokens, this.card.contextTokens) };
  }

  onRestart(listener: () => void): void {
    this.#restartListener = listener;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#probeTimer);
    this.#endRuns("The engine was closed.");
    await this.#options.link.close();
  }

  async #read(request: EngineRequest): Promise<ReadPrompt | EngineRefusal> {
    const down = this.#refusalWhileDown();
    if (down !== null) return down;
    const problem = grammarProblem(request, this.#options.kind);
    if (problem !== null) return { type: "refused", reason: "grammar", message: problem, place: null };
    const read = await this.#prompts.read(request);
    if (read === null) return this.#refusalWhileDown() ?? unavailable("The engine's server does not read a prompt now.");
    const { contextTokens } = this.card;
    const least = read.exact ? read.promptTokens : read.promptTokens * (1 - ESTIMATE_MARGIN);
    if (least < contextTokens) return read;
    const message = `the prompt has ${read.promptTokens} tokens, the context ${contextTokens}`;
    const promptTokens = countedTokens(read.promptTokens, contextTokens);
    return { type: "refused", reason: "context_length_exceeded", promptTokens, exact: read.exact, contextTokens, message };
  }

  #enter(request: EngineRequest, read: ReadPrompt): OpenAiRun {
    const { link, kind, serverModel } = this.#options;
    const { prompt, promptTokens, exact } = read;
    const room = this.card.contextTokens - Math.ceil(exact ? promptTokens : promptTokens * (1 + ESTIMATE_MARGIN));
    const maxTokens = Math.max(1, Math.min(request.maxTokens, room));
    const body = completionBody({ request, prompt, model: serverModel, kind, maxTokens });
    // Of a text nobody knows where its blocks end.
    const chain = typeof prompt === "string" ? [] : this.#memory.chainOf(prompt, request.salt);
    const run = new OpenAiRun({
      promptTokens,
      open: async (signal) => {
        const opening = await link.open("/v1/completions", body, signal);
        if (opening.type === "failed" && opening.why === "unreachable") this.#lost();
        return opening;
      },
      believedTokens: () => (this.#reportsCached ? this.#memory.heldTokens(chain, promptTokens) : 0),
      stop: request.stop,
      onEnd: (usage) => {
        this.#runs.delete(request.id);
        if (usage !== null) this.#learn(request, read, chain, usage);
        this.#startNext();
      },
    });
    this.#runs.set(request.id, run);
    this.#startNext();
    return run;
  }

  #learn(request: EngineRequest, { prompt, exact }: ReadPrompt, chain: readonly string[], usage: ServerUsage): void {
    if (!exact && typeof prompt === "string") this.#prompts.learn(request.prompt, usage.promptTokens);
    if (usage.cachedTokens !== null) this.#reportsCached = true;
    if (usage.cachedTokens !== null) this.#memory.corrected(chain, usage.cachedTokens);
    this.#memory.computed(chain);
  }

  #startNext(): void {
    if (this.#refusalWhileDown() !== null) return;
    let running = 0;
    for (const run of this.#runs.values()) if (run.hasStarted) running += 1;
    for (const run of this.#runs.values()) {
      if (running >= this.card.sequences) return;
      if (run.hasStarted) continue;
      run.start();
      running += 1;
    }
  }

  #refusalWhileDown(): EngineRefusal | null {
    if (this.#ending.signal.aborted) return unavailable("The engine is closed.");
    return this.#isDown ? unavailable("The engine's server can't be reached.") : null;
  }

  #endRuns(message: string): void {
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    for (const run of runs) run.end("error", message);
  }

  /** No connection: the process is gone, and its cache with it. */
  #lost(): void {
    if (this.#refusalWhileDown() !== null) return;
    this.#isDown = true;
    this.#memory.clear();
    this.#endRuns("The engine's server can't be reached.");
    this.#probeAfter(FIRST_PAUSE_MS);
  }

  #probeAfter(pauseMs: number): void {
    this.#probeTimer = setTimeout(() => void this.#probe(pauseMs), pauseMs);
    this.#probeTimer.unref();
  }

  async #probe(pauseMs: number): Promise<void> {
    const answer = await this.#options.link.call({ path: "/v1/models", ms: PROBE_MS, signal: this.#ending.signal });
    if (this.#ending.signal.aborted) return;
    if (answer.type === "failed" || answer.status !== 200) return this.#probeAfter(Math.min(pauseMs * 2, LONGEST_PAUSE_MS));
    this.#isDown = false;
    this.#restartListener();
  }
}
