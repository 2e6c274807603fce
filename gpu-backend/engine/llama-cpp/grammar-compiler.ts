/** Grammars as GBNF, compiled beside the engine and kept by the text of what was asked: an application sends the same schema with every request. */
import { Worker } from "node:worker_threads";
import type { CompiledGrammar } from "./grammar/grammar.ts";
import type { GrammarLimitsName } from "./grammar/limits.ts";
import type { Grammar } from "../grammar.ts";
import type { CompileOrder } from "./grammar-worker.ts";

const keptGrammars = 64;
/** One that is slow does not hold up the next. */
const mostThreads = 2;
/** The compiler bounds its own work to less than a second; this is for what it does not foresee. */
const longestMs = 10_000;
const threadMegabytes = 256;

/** null: the thread ended before it came to this one. */
type Outcome = CompiledGrammar | { type: "failed"; message: string } | null;

/** A thread and what it works at, in order. */
class Thread {
  readonly #worker = new Worker(new URL("./grammar-worker.ts", import.meta.url), {
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: threadMegabytes },
  });
  /** In order: the first is at work. */
  readonly #open = new Map<number, (outcome: Outcome) => void>();
  readonly #onEnd: () => void;
  #next = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
    // Idle threads keep no process alive.
    this.#worker.unref();
    this.#worker.on("message", ({ id, compiled }: { id: number; compiled: CompiledGrammar }) => {
      this.#open.get(id)?.(compiled);
      this.#open.delete(id);
      this.#watch();
    });
    this.#worker.on("error", () => this.#end("the schema takes more memory than a grammar may"));
    this.#worker.on("exit", () => this.#end("the grammar's thread ended"));
  }

  get waiting(): number {
    return this.#open.size;
  }

  compile(grammar: Grammar, limits: GrammarLimitsName): Promise<Outcome> {
    const order: CompileOrder = { id: (this.#next += 1), grammar, limits };
    return new Promise((answer) => {
      this.#open.set(order.id, answer);
      this.#worker.postMessage(order);
      if (this.#timer === undefined) this.#watch();
    });
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  /** From one answer to the next. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#open.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#end(`the schema takes more than ${longestMs / 1_000} s to be made a grammar`);
      void this.#worker.terminate();
    }, longestMs);
    this.#timer.unref();
  }

  /** Only the first was at work. */
  #end(message: string): void {
    clearTimeout(this.#timer);
    this.#onEnd();
    const [first, ...others] = this.#open.values();
    this.#open.clear();
    first?.({ type: "failed", message });
    for (const answer of others) answer(null);
  }
}

export class GrammarCompiler {
  readonly #limits: GrammarLimitsName;
  /** Least recently used first. */
  readonly #kept = new Map<string, Promise<CompiledGrammar>>();
  readonly #threads = new Set<Thread>();
  #closed = false;

  constructor(limits: GrammarLimitsName) {
    this.#limits = limits;
  }

  compile(grammar: Grammar): Promise<CompiledGrammar> {
    const key = JSON.stringify(grammar);
    const compiled = this.#kept.get(key) ?? this.#compile(grammar, key);
    this.#kept.delete(key);
    this.#kept.set(key, compiled);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptGrammars && oldest !== undefined) this.#kept.delete(oldest);
    return compiled;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#threads].map((thread) => thread.stop()));
  }

  async #compile(grammar: Grammar, key: string): Promise<CompiledGrammar> {
    while (!this.#closed) {
      const outcome = await this.#thread().compile(grammar, this.#limits);
      if (outcome === null) continue;
      if (outcome.type !== "failed") return outcome;
      // What a busy machine did is no property of the schema.
      this.#kept.delete(key);
      return { type: "unsupported", message: outcome.message, place: null };
    }
    return { type: "unsupported", message: "the engine is closed", place: null };
  }

  /** The one with the least to do. */
  #thread(): Thread {
    const [idlest] = [...this.#threads].toSorted((a, b) => a.waiting - b.waiting);
    if (idlest !== undefined && (idlest.waiting === 0 || this.#threads.size === mostThreads)) return idlest;
    const thread = new Thread(() => this.#threads.delete(thread));
    this.#threads.add(thread);
    return thread;
  }
}
