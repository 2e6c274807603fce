/**
 * A server that speaks OpenAI's API as an engine: its /v1/completions computes prompts that the replica renders. What its cache holds is
 * followed where it says so (followed.ts); else it has no KV part, and what it holds is believed (prefix-memory.ts) and corrected by what it
 * reports. docs/decisions/0027, 0031.
 */
import {
  type Counted,
  type Engine,
  type EngineCard,
  type EngineLoad,
  type EngineRefusal,
  type EngineRequest,
  type EngineRun,
  type EngineKv,
  type Prepared,
  type PromptBlocks,
} from "../engine.ts";
import type { KvEventCounts, ResidencyState } from "../residency-state.ts";
import { completionBody, grammarProblem, type ServerUsage } from "./completion.ts";
import { type ServerKind, tryServing } from "./discovery.ts";
import type { Followed } from "./followed.ts";
import { PrefixMemory } from "./prefix-memory.ts";
import { countedTokens, PromptTokens, type ReadPrompt } from "./prompt-tokens.ts";
import { refusalOf } from "./refusal.ts";
import { OpenAiRun } from "./run.ts";
import type { ServerLink } from "./server-link.ts";

interface OpenAiEngineOptions {
  link: ServerLink;
  kind: ServerKind;
  /** Name by which the server knows the model. */
  serverModel: string;
  tokenizes: boolean;
  card: EngineCard;
  follow: { type: "followed"; followed: Followed } | { type: "predicted"; why: string };
  /** As `Beyond` has it. */
  watch?: ((link: ServerLink, onRest: (why: string | null) => void) => () => void) | undefined;
}

/**
 * A server says within this whether it takes a request; later than that, an error ends the run, and its meaning is lost. The edge knows by
 * then that the request is here (acceptance.ts); its lease, which ends after 5 s unless it is taken up, must not run out.
 */
const OPENED_WITHIN_MS = 3_000;
const PROBE_MS = 2_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** Share of an estimated length that may be wrong. */
const ESTIMATE_MARGIN = 0.25;

const FAILS = "The engine's server fails whatever it is asked.";

const idle: EngineLoad = { running: 0, queued: 0, usedKvTokens: 0 };
const unavailable = (message: string): EngineRefusal => ({ type: "refused", reason: "unavailable", message });

export class OpenAiEngine implements Engine {
  readonly card: EngineCard;
  readonly kv: EngineKv | null;
  readonly faults = { restores: 0, notFinite: 0 };
  readonly kvEvents?: () => KvEventCounts;
  readonly #options: OpenAiEngineOptions;
  readonly #prompts: PromptTokens;
  readonly #memory: PrefixMemory;
  readonly #followed: Followed | null;
  /** In the order in which they came. */
  readonly #runs = new Map<string, OpenAiRun>();
  readonly #ending = new AbortController();
  #reportsCached = false;
  #isDown = false;
  /** Why the server takes nothing new although it answers; null: it takes what comes. */
  #resting: string | null = null;
  #isTried = false;
  readonly #endWatch: () => void;
  #probeTimer: NodeJS.Timeout | undefined;
  #tryTimer: NodeJS.Timeout | undefined;
  #restartListener: () => void = () => undefined;

  constructor(options: OpenAiEngineOptions) {
    const { card, link, serverModel, tokenizes, follow } = options;
    this.card = card;
    this.#followed = follow.type === "followed" ? follow.followed : null;
    this.kv = this.#followed?.kv ?? null;
    if (follow.type === "followed") this.kvEvents = () => follow.followed.counts();
    this.#options = options;
    this.#prompts = new PromptTokens(link, serverModel, tokenizes);
    this.#memory = new PrefixMemory(card.kvTokens, card.blockTokens);
    this.#endWatch = options.watch?.(link, (why) => this.rest(why)) ?? ((): void => undefined);
  }

  async prepare(request: EngineRequest): Promise<Prepared | EngineRefusal> {
    const read = await this.#read(request);
    if ("reason" in read) return read;
    return { type: "prepared", tokens: typeof read.prompt === "string" ? null : Uint32Array.from(read.prompt) };
  }

  async run(request: EngineRequest): Promise<EngineRun | EngineRefusal> {
    const read = await this.#read(request);
    if ("reason" in read) return read;
    const down = this.#refusalNow();
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

  residency(): ResidencyState {
    const { follow } = this.#options;
    if (follow.type === "followed") return follow.followed.state();
    return { state: "predicted", why: follow.why };
  }

  /**
   * The server can't take what comes, though it answers: it is paused, asleep or about to end. Null: it can again. What has no token yet
   * ends, so that another replica is asked.
   */
  rest(why: string | null): void {
    this.#resting = why;
    if (why === null) return this.#startNext();
    for (const run of this.#runs.values()) if (!run.hasSpoken) run.end("error", why);
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
    clearTimeout(this.#tryTimer);
    this.#endRuns("The engine was closed.");
    this.#followed?.close();
    this.#endWatch();
    await this.#options.link.close();
  }

  async #read(request: EngineRequest): Promise<ReadPrompt | EngineRefusal> {
    const down = this.#refusalNow();
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
    const { chain, blocks, believedTokens } = this.#blocksOf(request, read);
    const run = new OpenAiRun({
      promptTokens,
      blocks,
      open: async (signal) => {
        const opening = await link.open("/v1/completions", body, signal);
        if (opening.type === "failed" && opening.why === "unreachable") this.#lost();
        if (opening.type === "answer" && opening.status >= 500 && opening.status !== 503) void this.#tryServing();
        return opening;
      },
      believedTokens,
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

  #blocksOf({ prompt: text, cuts = [], salt }: EngineRequest, { prompt, promptTokens }: ReadPrompt) {
    const followed = this.#followed;
    if (followed === null) {
      // The block ends of a text without tokens are unknown.
      const chain = typeof prompt === "string" ? [] : this.#memory.chainOf(prompt, salt);
      return { chain, blocks: null, believedTokens: () => (this.#reportsCached ? this.#memory.heldTokens(chain, promptTokens) : 0) };
    }
    const keys = typeof prompt === "string" ? [] : followed.keysOf(prompt, salt);
    const tokenEnds = typeof prompt === "string" ? new Uint32Array() : followed.tokenEnds({ prompt: text, cuts, tokens: prompt });
    const blocks: PromptBlocks = { tokenEnds, blockKeys: keys };
    return { chain: [], blocks, believedTokens: () => followed.heldTokens(keys, promptTokens) };
  }

  #learn(request: EngineRequest, { prompt, exact }: ReadPrompt, chain: readonly string[], usage: ServerUsage): void {
    if (!exact && typeof prompt === "string") this.#prompts.learn(request.prompt, usage.promptTokens);
    if (usage.cachedTokens !== null) this.#reportsCached = true;
    if (usage.cachedTokens !== null) this.#memory.corrected(chain, usage.cachedTokens);
    this.#memory.computed(chain);
  }

  #startNext(): void {
    if (this.#refusalWhileDown() !== null || this.#resting !== null) return;
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

  #refusalNow(): EngineRefusal | null {
    return this.#refusalWhileDown() ?? (this.#resting === null ? null : unavailable(this.#resting));
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
    this.#resting = null;
    this.#memory.clear();
    this.#followed?.lost();
    this.#endRuns("The engine's server can't be reached.");
    this.#probeAfter(FIRST_PAUSE_MS);
  }

  /**
   * The server answered a request with an error of its own. A client's request may do that, so one of ours tells: a server that is about to
   * end (vLLM's --shutdown-timeout) says that it is healthy, and fails all.
   */
  async #tryServing(pauseMs = FIRST_PAUSE_MS): Promise<void> {
    if (this.#isTried || this.#refusalWhileDown() !== null) return;
    this.#isTried = true;
    const tried = await tryServing(this.#options.link, this.#options.serverModel, PROBE_MS);
    this.#isTried = false;
    if (this.#refusalWhileDown() !== null) return;
    if (tried === "failing") {
      this.rest(FAILS);
      this.#tryTimer = setTimeout(() => void this.#tryServing(Math.min(pauseMs * 2, LONGEST_PAUSE_MS)), pauseMs);
      this.#tryTimer.unref();
    } else if (this.#resting === FAILS) this.rest(null);
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
