/** What one replica is: its engine, its place in the pool, and the requests that run on it. */
import xxhash from "xxhash-wasm";
import { type ApiError, apiError } from "../src/errors.ts";
import { type Chain, chainOf, chainRoot, type Hash64 } from "../src/prefix/chain.ts";
import type { ChatPrompt } from "../src/prefix/prompt.ts";
import { PromptEncoder, type PromptPiece } from "../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../src/prefix/segment.ts";
import type { Admission } from "../src/wire/admission.ts";
import type { Running } from "../src/wire/control.ts";
import type { ChatRequest } from "../src/wire/openai.ts";
import { AdmissionGate } from "./admission-gate.ts";
import { anchorsOf } from "./anchor.ts";
import { announce, type Announcer } from "./announce.ts";
import type { ReplicaConfig } from "./config.ts";
import type { Engine, EngineEvent, EngineRun } from "./engine/engine.ts";
import { HeldSegments } from "./held-segments.ts";
import { LeaseReporter } from "./lease-reporter.ts";
import { ChatTemplate } from "./template.ts";

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);

/** A request that the engine has accepted. */
export interface Run {
  events: AsyncIterable<EngineEvent>;
  cancel(): void;
}

export type Started = { ok: true; run: Run } | { ok: false; error: ApiError };

interface Live {
  running: Running;
  run: EngineRun;
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

  async start(request: ChatRequest, admission: Admission): Promise<Started> {
    const { chain, pieces } = this.#chainOf(request, admission.salt);
    const tip = chain.hashes.at(-1)?.toString(16) ?? "";
    if (tip !== admission.chainTip) {
      return { ok: false, error: apiError("invalid_admission", "The admission was given for another prompt.") };
    }
    const rendered = this.#template.render(request.prompt, true);
    if (!rendered.ok)
      return {
        ok: false,
        error: apiError("invalid_request", `The model's chat template refuses these messages: ${rendered.message}`, "messages"),
      };
    const submitted = await this.#engine.submit({
      id: `${admission.id}/${admission.attempt}`,
      prompt: rendered.text,
      salt: admission.salt,
      maxTokens: request.maxTokens ?? this.#engine.card.contextTokens,
      temperature: request.temperature ?? 1,
      topP: request.topP ?? 1,
      seed: request.seed ?? Math.floor(Math.random() * 2 ** 31),
      stop: request.stop,
    });
    if (submitted.type === "refused") {
      if (submitted.reason === "context_length_exceeded")
        return { ok: false, error: apiError("context_length_exceeded", submitted.message, "messages") };
      this.#announcer?.lease({ event: "refused", id: admission.id, attempt: admission.attempt });
      return { ok: false, error: { ...apiError("overloaded", submitted.message), retryAfterSeconds: 1 } };
    }
    const anchors = (queued: Extract<EngineEvent, { type: "queued" }>) =>
      this.#exact
        ? anchorsOf(this.#template, request.prompt, this.#hashSpec.order, {
            chain,
            pieces,
            rendered: rendered.text,
            queued,
            blockTokens: this.#engine.card.blockTokens,
          })
        : [];
    return { ok: true, run: { events: this.#follow(submitted, admission, anchors), cancel: () => submitted.cancel() } };
  }

  #chainOf(request: { model: string; prompt: ChatPrompt }, salt: string): { chain: Chain; pieces: PromptPiece[] } {
    const bytes = this.#encoder.encode(request.prompt, this.#hashSpec.order);
    const root = chainRoot(hash64, { spec: this.#hashSpec, model: request.model, adapter: null, salt });
    return { chain: chainOf(hash64, root, bytes, this.#hashSpec.schedule), pieces: [...this.#encoder.pieces] };
  }

  /** Passes the run's events on and tells the pool of each step. */
  async *#follow(
    run: EngineRun,
    { id, attempt }: Admission,
    anchors: (queued: Extract<EngineEvent, { type: "queued" }>) => ReturnType<typeof anchorsOf>,
  ): AsyncGenerator<EngineEvent> {
    const reporter = new LeaseReporter(id, attempt, (report) => this.#announcer?.lease(report));
    const name = `${id}/${attempt}`;
    this.#live.set(name, { running: reporter.running, run });
    let endInterest = (): void => undefined;
    try {
      for await (const event of run.events) {
        if (event.type === "queued") endInterest = this.#held.anchor(anchors(event));
        reporter.see(event);
        yield event;
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
