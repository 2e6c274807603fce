/** The embedded engine as the replica sees it: a proxy of a child process that is started again when it dies. */
import type {
  BlockChange,
  Counted,
  Engine,
  EngineCard,
  EngineFaults,
  EngineKv,
  EngineLoad,
  EngineRefusal,
  EngineRequest,
  EngineRun,
  KvExchange,
  PreparedKv,
  Restore,
} from "../engine.ts";
import { type Child, type ChildStart, type ForkedEngine, startChild } from "./child.ts";
import { GrammarCompiler } from "./grammar-compiler.ts";
import type { GrammarLimitsName } from "./grammar/limits.ts";
import { LlamaExchange, messageOf, refused } from "./exchange.ts";
import type { Answer, ChildMessage, ChildOptions, ChildRequest, Question } from "./messages.ts";
import { Questions } from "./questions.ts";
import { RunStream } from "./run-stream.ts";

export interface LlamaEngineOptions {
  /** A GGUF file. */
  modelPath: string;
  /** Name clients use; made of the file's own by default. */
  modelName?: string;
  /** Requests computed at once. */
  sequences: number;
  /** Prompt plus output of one request, in tokens. KV of sequences × contextTokens is allocated at the start. Null: what the model was made for, as far as memory reaches. */
  contextTokens: number | null;
  /** Where contextTokens is null: how much memory that KV may take. Null or left out: half of what is free. */
  kvBytes?: number | null;
  blockTokens?: number;
  /** Requests that may wait. */
  queueLimit: number;
  /** Prefill tokens in one step while others decode. */
  prefillChunkTokens?: number;
  /** How much a grammar allows where the schema sets no bound. Default wide: what a trained model gets. */
  grammarLimits?: GrammarLimitsName;
}

export interface LlamaEngine extends Engine {
  readonly kv: EngineKv & { readonly exchange: KvExchange };
  prepare(request: EngineRequest): Promise<PreparedKv | EngineRefusal>;
  /** The child's process id; undefined while it is down. */
  readonly processId: number | undefined;
}

type CompleteOptions = Omit<ChildOptions, "scratchDirectory"> & { grammarLimits: GrammarLimitsName };

const idle: EngineLoad = { running: 0, queued: 0, usedKvTokens: 0 };
const firstPauseMs = 100;
const longestPauseMs = 10_000;

interface PendingRun {
  stream: RunStream;
  /** Answers `run` or `import`; undefined once it has. */
  answer: ((answer: EngineRun | EngineRefusal) => void) | undefined;
}

class LlamaEngineProxy implements LlamaEngine {
  readonly card: EngineCard;
  readonly kv: LlamaEngine["kv"];
  readonly #options: CompleteOptions;
  readonly #runs = new Map<string, PendingRun>();
  readonly #questions = new Questions();
  readonly #grammars: GrammarCompiler;
  #child: Child | undefined;
  #load = idle;
  /** Of the child that runs, and of those before it. */
  #faults: EngineFaults = { restores: 0, notFinite: 0 };
  #pastFaults: EngineFaults = { restores: 0, notFinite: 0 };
  #closed = false;
  #pauseMs = firstPauseMs;
  #restartTimer: NodeJS.Timeout | undefined;
  #residencyListener: (changes: BlockChange[]) => void = () => undefined;
  #restartListener: () => void = () => undefined;

  constructor(options: CompleteOptions, { card, kvCard, child }: Extract<ChildStart, { type: "started" }>) {
    // Its next process has the same context, however much memory is free then.
    this.#options = { ...options, contextTokens: card.contextTokens };
    this.card = card;
    this.#grammars = new GrammarCompiler(options.grammarLimits);
    this.kv = {
      onResidency: (listener) => void (this.#residencyListener = listener),
      exchange: new LlamaExchange(kvCard, {
        read: (request) => this.#read(request),
        ask: (question, progressed) => this.#ask(question, progressed),
        down: () => this.#down(),
        submit: (request, restore) => this.#submit(request, restore),
        cancel: (id) => this.#child?.send({ type: "cancel", id }),
      }),
    };
    this.#adopt(child);
  }

  get processId(): number | undefined {
    return this.#child?.processId;
  }

  get faults(): EngineFaults {
    const { restores, notFinite } = this.#pastFaults;
    return { restores: restores + this.#faults.restores, notFinite: notFinite + this.#faults.notFinite };
  }

  run(request: EngineRequest): Promise<EngineRun | EngineRefusal> {
    return this.#submit(request);
  }

  async #submit(request: EngineRequest, restore?: Restore): Promise<EngineRun | EngineRefusal> {
    const read = await this.#read(request);
    const child = this.#child;
    if ("reason" in read) return read;
    if (child === undefined) return this.#down();
    if (this.#runs.has(request.id)) return refused(`a run ${request.id} exists already`);
    const cancel = () => child.send({ type: "cancel", id: request.id });
    const stream = new RunStream({ cancel, acknowledge: (deltas) => child.send({ type: "acknowledge", id: request.id, deltas }) });
    return new Promise((answer) => {
      this.#runs.set(request.id, { stream, answer });
      child.send({ type: "submit", request: read, restore });
    });
  }

  prepare(request: EngineRequest): Promise<PreparedKv | EngineRefusal> {
    return this.kv.exchange.prepare(request);
  }

  onRestart(listener: () => void): void {
    this.#restartListener = listener;
  }

  load(): EngineLoad {
    return this.#load;
  }

  async count(prompt: string, cuts: readonly number[] = []): Promise<Counted | EngineRefusal> {
    const answer = await this.#ask({ type: "count", prompt, cuts });
    if (answer?.type === "counted") return answer;
    return answer === undefined ? this.#down() : refused(messageOf(answer));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restartTimer);
    const child = this.#child;
    this.#child = undefined;
    await Promise.all([child?.stop(), this.#grammars.close()]);
    this.#endRuns("the engine was closed");
  }

  /** As the child gets it. The grammar is compiled here, in a thread: the child's steps wait for nothing that a schema takes. */
  async #read({ grammar, ...rest }: EngineRequest): Promise<ChildRequest | EngineRefusal> {
    if (grammar === null) return { ...rest, gbnf: null };
    const compiled = await this.#grammars.compile(grammar);
    if (compiled.type === "compiled") return { ...rest, gbnf: compiled.gbnf };
    return { type: "refused", reason: "grammar", message: compiled.message, place: compiled.place };
  }

  /** Undefined while the engine is down. */
  async #ask(question: Question, progressed?: (tokens: number) => void): Promise<Answer | undefined> {
    const child = this.#child;
    if (child === undefined) return undefined;
    return this.#questions.ask((id) => child.send({ type: "ask", id, question }), progressed);
  }

  #down(): EngineRefusal {
    return refused(this.#closed ? "the engine is closed" : "the engine is starting again");
  }

  #adopt(child: Child): void {
    this.#child = child;
    child.onMessage((message) => this.#receive(message));
    child.onExit(() => this.#lost(child));
  }

  #receive(message: ChildMessage): void {
    if (message.type === "refused") {
      this.#runs.get(message.id)?.answer?.(message.refusal);
      this.#runs.delete(message.id);
    }
    if (message.type === "progress") this.#questions.progress(message.id, message.tokens);
    if (message.type === "answer") this.#questions.answer(message.id, message.answer);
    if (message.type !== "step") return;
    this.#load = message.load;
    this.#faults = message.faults;
    // It serves, so the next death is a new story.
    this.#pauseMs = firstPauseMs;
    if (message.changes.length > 0) this.#residencyListener(message.changes);
    for (const { id, event } of message.events) {
      const run = this.#runs.get(id);
      if (run === undefined) continue;
      run.stream.push(event);
      if (event.type === "finished") this.#runs.delete(id);
      if (event.type === "queued") this.#accept(id, run);
    }
  }

  #accept(id: string, run: PendingRun): void {
    const abort = () => {
      if (this.#runs.get(id) === run) this.#child?.send({ type: "cancel", id });
    };
    run.answer?.({ type: "accepted", events: run.stream, abort });
    run.answer = undefined;
  }

  #endRuns(message: string): void {
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    this.#load = idle;
    this.#questions.fail(message);
    for (const run of runs) {
      run.answer?.(refused(message));
      run.stream.fail(message);
    }
  }

  #lost(child: Child): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#pastFaults = this.faults;
    this.#faults = { restores: 0, notFinite: 0 };
    this.#endRuns("the engine's process died");
    this.#restartLater();
  }

  #restartLater(): void {
    if (this.#closed) return;
    this.#restartTimer = setTimeout(() => void this.#restart(), this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs);
  }

  async #restart(): Promise<void> {
    const started = await startChild(this.#options);
    if (started.type === "unavailable") return this.#restartLater();
    if (this.#closed) return started.child.stop();
    this.#adopt(started.child);
    this.#restartListener();
  }
}

/** One sentence about options that cannot work, or undefined. */
function optionsProblem(options: CompleteOptions): string | undefined {
  const { sequences, contextTokens, blockTokens, queueLimit, prefillChunkTokens } = options;
  const whole = (value: number, least: number) => Number.isSafeInteger(value) && value >= least;
  if (!whole(sequences, 1) || sequences > 256) return "the embedded engine runs 1 to 256 sequences";
  if (contextTokens !== null && !whole(contextTokens, 128)) return "the embedded engine needs a context of at least 128 tokens";
  if (!whole(blockTokens, 1)) return "a block has at least one token";
  if (!whole(queueLimit, 0)) return "the queue limit is a whole number";
  if (!whole(prefillChunkTokens, 4)) return "a prefill chunk has at least 4 tokens";
  return undefined;
}

/**
 * Starts the engine and waits until it serves. Every reason why it cannot is an "unavailable" of one sentence. `forked`: its process, where
 * one was forked before.
 */
export async function startLlamaEngine(
  options: LlamaEngineOptions,
  forked?: ForkedEngine,
): Promise<LlamaEngine | { type: "unavailable"; message: string }> {
  const complete: CompleteOptions = { blockTokens: 32, prefillChunkTokens: 256, grammarLimits: "wide", ...options };
  const problem = optionsProblem(complete);
  if (problem !== undefined) {
    forked?.process.kill("SIGKILL");
    return { type: "unavailable", message: problem };
  }
  const started = await startChild(complete, forked);
  if (started.type === "unavailable") return started;
  return new LlamaEngineProxy(complete, started);
}
