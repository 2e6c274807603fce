/** What one replica is: its engine, its place in the pool, and the requests that run on it. */
import xxhash from "xxhash-wasm";
import { type ApiError, apiError } from "../src/errors.ts";
import { type Chain, chainOf, chainRoot, type Hash64 } from "../src/prefix/chain.ts";
import type { ChatPrompt, TextPrompt } from "../src/prefix/prompt.ts";
import { PromptEncoder, type PromptPiece } from "../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../src/prefix/segment.ts";
import type { Admission } from "../src/wire/admission.ts";
import type { Running } from "../src/wire/control.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import { AdmissionGate } from "./admission-gate.ts";
import { anchorsOf } from "./anchor.ts";
import { announce, type Announcer } from "./announce.ts";
import { Choices, type ChoiceEvent } from "./choices.ts";
import type { ReplicaConfig } from "./config.ts";
import type { Engine, EngineEvent, EngineRefusal, EngineRequest, EngineRun } from "./engine/engine.ts";
import { choiceRequest, engineRequest, grammarOf, promptParam, refusalError } from "./engine-request.ts";
import { HeldSegments } from "./held-segments.ts";
import { LeaseReporter } from "./lease-reporter.ts";
import { ChatTemplate } from "./template.ts";

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);

/** A request that the engine has accepted. */
export interface Run {
  events: AsyncIterable<ChoiceEvent>;
  /** As the engine got it. */
  prompt: string;
  cancel(): void;
}

export type Started = { ok: true; run: Run } | { ok: false; error: ApiError };
export type Counted = { ok: true; tokens: number } | { ok: false; error: ApiError };
type Prompted = { ok: true; text: string } | { ok: false; error: ApiError };
type Queued = Extract<EngineEvent, { type: "queued" }>;

interface Live {
  running: Running;
  run: Choices;
}

export class Replica {
  readonly gate = new AdmissionGate();
  readonly config: ReplicaConfig;
  readonly #engine: Engine;
  readonly #template: ChatTemplate;
  readonly #hashSpec: HashSpec;
  /** False: no known template order fits, so what the engine holds cannot be told in segments. */
  readonly #exact: boolean;
  readonly #held: HeldSegments;
  readonly #encoder = new PromptEncoder(hash64, { recordPieces: true });
  readonly #live = new Map<string, Live>();
  #announcer: Announcer | null = null;
  #epoch = Date.now();
  #onIdle: (() => void) | null = null;

  private constructor(engine: Engine, config: ReplicaConfig, template: ChatTemplate) {
    this.config = config;
    this.#engine = engine;
    this.#template = template;
    const order = template.findTemplateOrder();
    this.#exact = order !== null;
    this.#hashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: order ?? "system-then-tools" };
    this.#held = new HeldSegments((entry) => this.#announcer?.residency(entry));
    engine.onBlocks((changes) => {
      for (const { key, held } of changes) this.#held.blockChanged(key, held);
    });
    engine.onRestart(() => {
      this.#held.clear();
      this.#epoch = Math.max(Date.now(), this.#epoch + 1);
      this.#announcer?.restart();
    });
  }

  static create(engine: Engine, config: ReplicaConfig): Replica | { message: string } {
    const template = ChatTemplate.parse(engine.card.chatTemplate, engine.card.specialTokens);
    return template instanceof ChatTemplate ? new Replica(engine, config, template) : { message: template.message };
  }

  get model(): string {
    return this.#engine.card.model;
  }

  get runningCount(): number {
    return this.#live.size;
  }

  join(url: string, onState: (joined: boolean) => void): void {
    const { card } = this.#engine;
    this.#announcer = announce({
      join: this.config.join,
      hello: () => ({
        protocol: 1,
        pool: this.config.pool,
        replica: this.config.name,
        epoch: this.#epoch,
        url,
        roles: ["prefill", "decode"],
        model: card.model,
        hashSpec: { ...this.#hashSpec, schedule: [...this.#hashSpec.schedule] },
        anchors: this.#exact ? "exact" : "predicted",
        capacity: {
          sequences: card.sequences,
          kvTokens: card.kvTokens,
          blockTokens: card.blockTokens,
          contextTokens: card.contextTokens,
          queueLimit: card.queueLimit,
        },
        token: this.config.joinToken,
      }),
      running: () => [...this.#live.values()].map(({ running }) => running),
      load: () => this.#engine.load(),
      entries: () => this.#held.entries(),
      entryCount: () => this.#held.size,
      onWelcome: ({ admissionKey, poolNowMs }) => this.gate.welcome(admissionKey, poolNowMs, Date.now()),
      onCancel: (id, attempt) => this.#live.get(`${id}/${attempt}`)?.run.cancel(),
      onRefused: (message) => process.stderr.write(`${this.config.name} was refused by its pool: ${message}\n`),
      onState,
    });
  }

  drain(): void {
    this.#announcer?.drain();
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#live.size === 0 ? Promise.resolve() : new Promise((resolve) => (this.#onIdle = resolve));
  }

  close(): void {
    this.#announcer?.close();
  }

  async start(request: InnerRequest, admission: Admission): Promise<Started> {
    const { chain, pieces } = this.#chainOf(request, admission.salt);
    const tip = chain.hashes.at(-1)?.toString(16) ?? "";
    if (tip !== admission.chainTip) {
      return { ok: false, error: apiError("invalid_admission", "The admission was given for another prompt.") };
    }
    const rendered = this.#render(request);
    if (!rendered.ok) return rendered;
    const prompt = rendered.text;
    const { first, submitted } = await this.#submit(request, admission, prompt);
    if (submitted.type === "refused") {
      const ours = submitted.reason === "busy" || submitted.reason === "unavailable";
      if (ours) this.#announcer?.lease({ event: "refused", id: admission.id, attempt: admission.attempt });
      return { ok: false, error: refusalError(request, submitted, first.grammar) };
    }
    const choices = new Choices(submitted, request.n, (choice) => this.#engine.submit(choiceRequest(first, choice)));
    const { blockTokens } = this.#engine.card;
    const anchors = (queued: Queued) =>
      this.#exact
        ? anchorsOf(this.#template.withReasoning(request.reasoningEffort), request.prompt, this.#hashSpec.order, {
            chain,
            pieces,
            rendered: prompt,
            queued,
            blockTokens,
          })
        : [];
    return { ok: true, run: { events: this.#follow(choices, request.n, admission, anchors), prompt, cancel: () => choices.cancel() } };
  }

  /** Tokens of the prompt as the engine would get it. */
  async count(request: InnerRequest): Promise<Counted> {
    const rendered = this.#render(request);
    if (!rendered.ok) return rendered;
    try {
      return { ok: true, tokens: await this.#engine.countTokens(rendered.text) };
    } catch {
      return { ok: false, error: { ...apiError("overloaded", "The engine is down. Try again."), retryAfterSeconds: 1 } };
    }
  }

  #render(request: InnerRequest): Prompted {
    if ("text" in request.prompt) return { ok: true, text: request.prompt.text };
    const rendered = this.#template.withReasoning(request.reasoningEffort).render(request.prompt, true);
    if (rendered.ok) return rendered;
    const message = `The model's chat template refuses these messages: ${rendered.message}`;
    return { ok: false, error: apiError("invalid_request", message, promptParam(request)) };
  }

  /** A schema that the engine can't follow is let go where the caller does not insist on it. */
  async #submit(
    request: InnerRequest,
    { id, attempt, salt }: Admission,
    prompt: string,
  ): Promise<{ first: EngineRequest; submitted: EngineRun | EngineRefusal }> {
    const given = { id: `${id}/${attempt}`, prompt, salt, contextTokens: this.#engine.card.contextTokens };
    const first = engineRequest(request, { ...given, grammar: grammarOf(request) });
    const submitted = await this.#engine.submit(first);
    if (submitted.type === "accepted" || submitted.reason !== "grammar") return { first, submitted };
    const loose = engineRequest(request, { ...given, grammar: grammarOf(request, true) });
    if (JSON.stringify(loose.grammar) === JSON.stringify(first.grammar)) return { first, submitted };
    return { first: loose, submitted: await this.#engine.submit(loose) };
  }

  #chainOf(request: { model: string; prompt: ChatPrompt | TextPrompt }, salt: string): { chain: Chain; pieces: PromptPiece[] } {
    const bytes = this.#encoder.encode(request.prompt, this.#hashSpec.order);
    const root = chainRoot(hash64, { spec: this.#hashSpec, model: request.model, adapter: null, salt });
    return { chain: chainOf(hash64, root, bytes, this.#hashSpec.schedule), pieces: [...this.#encoder.pieces] };
  }

  /** Passes the runs' events on and tells the pool of each step. */
  async *#follow(
    run: Choices,
    count: number,
    { id, attempt }: Admission,
    anchors: (queued: Queued) => ReturnType<typeof anchorsOf>,
  ): AsyncGenerator<ChoiceEvent> {
    const reporter = new LeaseReporter(id, attempt, count, (report) => this.#announcer?.lease(report));
    const name = `${id}/${attempt}`;
    this.#live.set(name, { running: reporter.running, run });
    let endInterest = (): void => undefined;
    try {
      for await (const step of run.events()) {
        // The others' blocks are the same.
        if (step.event.type === "queued" && step.choice === 0) endInterest = this.#held.anchor(anchors(step.event));
        reporter.see(step);
        yield step;
      }
    } finally {
      run.cancel();
      endInterest();
      reporter.end();
      this.#live.delete(name);
      if (this.#live.size === 0) this.#onIdle?.();
    }
  }
}
