/** One run on the server: waits for its place, then reads the server's stream as fast as its consumer pulls. */
import { performance } from "node:perf_hooks";
import type { EngineEvent, FinishReason, PromptBlocks, TokenLogprob } from "../engine.ts";
import { TextOutput } from "../text-output.ts";
import { type CompletionEvent, readCompletion, type ServerUsage } from "./completion.ts";
import { eventStream } from "./event-stream.ts";
import type { LinkAnswer, LinkFailure, LinkStream } from "./server-link.ts";

type Opening = LinkStream | LinkAnswer | LinkFailure;

interface RunOptions {
  promptTokens: number;
  /** Null: what the server holds is not followed. */
  blocks: PromptBlocks | null;
  /** Sends the request. */
  open(signal: AbortSignal): Promise<Opening>;
  /** Asked when the run starts: what the server probably has of its prompt. */
  believedTokens(): number;
  stop: readonly string[];
  /** Once, when the run gives its place back; `usage`: as far as the server said it; null: it did not. */
  onEnd(usage: ServerUsage | null): void;
}

/** The usage comes right behind the last token. */
const USAGE_MS = 2_000;

interface End {
  reason: FinishReason;
  message?: string;
}

/** What the server says of an end → ours. All else, as vLLM's "abort", means that the answer is not whole, and another replica can give it. */
const ENDS: Readonly<Record<string, FinishReason>> = { stop: "stop", length: "length", content_filter: "stop" };

export class OpenAiRun {
  readonly #options: RunOptions;
  readonly #controller = new AbortController();
  readonly #turn = Promise.withResolvers<void>();
  readonly #output: TextOutput;
  #opening: Promise<Opening> | null = null;
  #end: End | null = null;
  #usage: ServerUsage | null = null;
  #believedTokens = 0;
  #outputTokens = 0;
  #untold = 0;
  #logprobs: TokenLogprob[] = [];
  #startedAtMs = 0;
  #firstAtMs: number | null = null;
  #lastAtMs = 0;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#output = new TextOutput(options.stop);
  }

  get hasStarted(): boolean {
    return this.#opening !== null;
  }

  /** The first token came: no other replica can take over. */
  get hasSpoken(): boolean {
    return this.#firstAtMs !== null;
  }

  /** Tokens of the prompt and of the output so far. */
  get tokens(): number {
    return this.#options.promptTokens + this.#outputTokens;
  }

  /** It has a place: the request goes out, whether or not anybody pulls. */
  start(): void {
    if (this.#opening !== null || this.#end !== null) return;
    this.#startedAtMs = performance.now();
    this.#believedTokens = this.#options.believedTokens();
    this.#opening = this.#options.open(this.#controller.signal);
    this.#turn.resolve();
  }

  /** How the server took it; null: not known after `ms`, or never sent. */
  async opening(ms: number): Promise<Opening | null> {
    if (this.#opening === null) return null;
    const late = Promise.withResolvers<null>();
    const timer = setTimeout(() => late.resolve(null), ms);
    const opening = await Promise.race([this.#opening, late.promise]);
    clearTimeout(timer);
    return opening;
  }

  /** Idempotent. The server sees the connection close, and stops. */
  end(reason: FinishReason, message?: string): void {
    if (this.#end !== null) return;
    this.#end = message === undefined ? { reason } : { reason, message };
    this.#controller.abort();
    this.#turn.resolve();
    this.#options.onEnd(this.#usage);
  }

  async *events(): AsyncGenerator<EngineEvent> {
    try {
      yield { type: "queued", promptTokens: this.#options.promptTokens, blocks: this.#options.blocks };
      await this.#turn.promise;
      if (this.#opening !== null && this.#end === null) {
        yield { type: "started", cachedTokens: this.#believedTokens, restoreMs: 0 };
        yield* this.#answer(await this.#opening);
      }
      yield this.#finished();
    } finally {
      this.end("cancelled");
    }
  }

  async *#answer(opened: Opening): AsyncGenerator<EngineEvent> {
    if (opened.type !== "stream") return this.end("error", problemOf(opened));
    let usageTimer: NodeJS.Timeout | undefined;
    let reason: FinishReason | null = null;
    try {
      for await (const item of eventStream(opened.chunks)) {
        if (this.#end !== null) return;
        const event: CompletionEvent = item.type === "data" ? readCompletion(item.data) : { type: "error" };
        if (event.type === "done") break;
        if (event.type === "error") return this.end("error", "The engine's server reported an error in the middle of an answer.");
        this.#usage = event.usage ?? this.#usage;
        if (reason === null) yield* this.#chunk(event);
        if (this.#end !== null) return;
        if (event.finishReason === null || reason !== null) continue;
        reason = ENDS[event.finishReason] ?? "error";
        usageTimer = setTimeout(() => this.#controller.abort(), USAGE_MS);
      }
    } catch {
      // The connection broke, or was closed from here.
    } finally {
      clearTimeout(usageTimer);
    }
    if (this.#end !== null) return;
    if (reason === null) return this.end("error", "The engine's server broke off in the middle of an answer.");
    if (reason === "error") return this.end("error", "The engine's server ended this answer before it was whole.");
    const rest = this.#output.end();
    if (rest !== "") yield this.#delta(rest);
    this.end(reason);
  }

  *#chunk({ text, logprobs, usage }: Extract<CompletionEvent, { type: "chunk" }>): Generator<EngineEvent> {
    if (text === "" && logprobs === null) return;
    this.#lastAtMs = performance.now();
    this.#firstAtMs ??= this.#lastAtMs;
    // A server that does not count as it goes sends a token in each chunk.
    const tokens = Math.max(0, usage?.outputTokens == null ? Math.max(1, logprobs?.length ?? 0) : usage.outputTokens - this.#outputTokens);
    this.#outputTokens += tokens;
    this.#untold += tokens;
    this.#logprobs.push(...(logprobs ?? []));
    const certain = this.#output.push(Buffer.from(text));
    if (certain !== "") yield this.#delta(certain);
    if (this.#output.stopped) this.end("stop");
  }

  #delta(text: string): EngineEvent {
    const logprobs = this.#logprobs.length > 0 ? this.#logprobs : null;
    const tokens = this.#untold;
    this.#logprobs = [];
    this.#untold = 0;
    return { type: "delta", text, tokens, logprobs };
  }

  #finished(): EngineEvent {
    const promptTokens = this.#usage?.promptTokens ?? this.#options.promptTokens;
    const firstAtMs = this.#firstAtMs ?? this.#startedAtMs;
    return {
      type: "finished",
      ...(this.#end ?? { reason: "error" }),
      promptTokens,
      // A number that was not counted is not reported.
      cachedTokens: Math.min(this.#usage?.cachedTokens ?? 0, Math.max(0, promptTokens - 1)),
      outputTokens: this.#usage?.outputTokens ?? this.#outputTokens,
      prefillMs: firstAtMs - this.#startedAtMs,
      decodeMs: this.#firstAtMs === null ? 0 : this.#lastAtMs - firstAtMs,
      stopText: this.#output.stopText,
    };
  }
}

/** Never the server's own words: they may hold its address or a prompt. */
export function problemOf(opened: LinkAnswer | LinkFailure): string {
  if (opened.type === "failed") {
    return opened.why === "timeout" ? "The engine's server did not answer in time." : "The engine's server can't be reached.";
  }
  const { status } = opened;
  if (status === 401 || status === 403) return "The engine's server refuses the replica's key.";
  if (status === 429 || status === 503) return "The engine's server is full.";
  return `The engine's server answered ${status}.`;
}
