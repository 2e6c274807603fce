/** What one replica is: its engine, its tiers, its place in the pool, and the requests that run on it. */
import { type ApiError, apiError } from "../src/errors.ts";
import type { Admission } from "../src/wire/admission.ts";
import type { Running } from "../src/wire/control.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import { AdmissionGate } from "./admission-gate.ts";
import { AnchorLog } from "./anchor-log.ts";
import { announce, type Announcer } from "./announce.ts";
import type { TierStack } from "./blocks/tier-stack.ts";
import { Choices, type ChoiceEvent } from "./choices.ts";
import type { ReplicaConfig } from "./config.ts";
import { COUNTED_BEYOND_CONTEXT, type Engine } from "./engine/engine.ts";
import { residencyOf } from "./engine/residency-state.ts";
import { enterEngine, type PromptKv } from "./enter-engine.ts";
import { contextLengthError } from "../src/wire/context-length.ts";
import { choiceRequest, engineRequest, grammarOf, refusalError } from "./engine-request.ts";
import { helloOf } from "./hello.ts";
import { HeldSegments } from "./held-segments.ts";
import { KvSupply, type Supplied, type SupplyOrder } from "./kv-supply.ts";
import { LeaseReporter } from "./lease-reporter.ts";
import { type OpenedTiers, openTiers } from "./open-tiers.ts";
import { endInterestOf, onceKnown } from "./late-ends.ts";
import type { ReplicaCounts } from "./metrics.ts";
import { MembershipLog } from "./membership-log.ts";
import { type Opened, Prompts } from "./prompts.ts";
import { steadyNowMs } from "./steady-clock.ts";
import { logLine } from "./operator-log.ts";
import { tierFills } from "./tier-fills.ts";
import { type Sender, senderOf } from "./transfers.ts";
import { BELOW_DEVICE, TIER } from "../src/residency/tiers.ts";

/** A request that the engine has accepted, or will when its KV is here. */
export interface Run {
  events: AsyncIterable<ChoiceEvent>;
  /** As the engine got it. */
  prompt: string;
  /** Its prompt's blocks stay below the device for so long: somebody will come back to them. */
  pin(ms: number): void;
  cancel(): void;
}

export type Started = { ok: true; run: Run } | { ok: false; error: ApiError };
export type Counted = { ok: true; tokens: number } | { ok: false; error: ApiError };

interface Live {
  running: Running;
  run: Choices;
}

export class Replica {
  readonly gate = new AdmissionGate();
  readonly config: ReplicaConfig;
  readonly prompts: Prompts;
  /** Gives blocks to other replicas and computes prompts for them. */
  readonly sender: Sender;
  readonly #engine: Engine;
  readonly #held: HeldSegments;
  readonly #live = new Map<string, Live>();
  /** Null: what the engine computed does not leave it, and nothing comes in. */
  #supply: KvSupply | null;
  #tiers: TierStack | null = null;
  #anchors: AnchorLog | null = null;
  #announcer: Announcer | null = null;
  #epoch = Date.now();

  private constructor(engine: Engine, config: ReplicaConfig, prompts: Prompts) {
    this.config = config;
    this.prompts = prompts;
    this.#engine = engine;
    this.#held = new HeldSegments((entry) => this.#announcer?.residency(entry));
    const exchange = engine.kv?.exchange ?? null;
    this.#supply = exchange === null ? null : new KvSupply(exchange, null);
    this.sender = senderOf({
      engine,
      prompts,
      source: () => this.#supply?.source ?? null,
      report: (lease) => this.#announcer?.lease(lease),
    });
    this.#begin(this.#epoch);
    engine.kv?.onResidency((changes) => {
      for (const { key, held, tier = TIER.device } of changes) this.#held.blockChanged(key, tier, held ? tier : 0);
    });
    engine.onRestart(() => {
      this.#held.tierCleared(TIER.device);
      this.#begin(Math.max(Date.now(), this.#epoch + 1));
      this.#announcer?.restart(this.#held.entries());
    });
  }

  /** A life of its engine. */
  #begin(epoch: number): void {
    this.#epoch = epoch;
    this.gate.begin(epoch);
    this.sender.begin();
  }

  static async create(engine: Engine, config: ReplicaConfig): Promise<Replica | { message: string }> {
    const prompts = Prompts.of(engine.card);
    if (!(prompts instanceof Prompts)) return prompts;
    const replica = new Replica(engine, config, prompts);
    const exchange = engine.kv?.exchange ?? null;
    if (exchange === null) return withoutExchange(config) ?? replica;
    const tiers = await openTiers(config.tiers, exchange.card, (key, tierBits) => {
      replica.#held.blockChanged(key, BELOW_DEVICE, tierBits);
      if (tierBits !== 0) replica.#supply?.arrived(key);
    });
    if (tiers !== null) replica.#use(new KvSupply(exchange, tiers.stack), tiers);
    return replica;
  }

  get model(): string {
    return this.#engine.card.model;
  }

  get runningCount(): number {
    return this.#live.size + this.sender.load.prefills + this.sender.load.pulls;
  }

  get counts(): ReplicaCounts {
    const [load, { faults }, residency] = [this.#engine.load(), this.#engine, residencyOf(this.#engine)];
    const kvEvents = this.#engine.kvEvents?.() ?? null;
    return {
      load,
      faults,
      residency,
      kvEvents,
      transfers: this.#supply?.transfers.all() ?? [],
      running: this.runningCount,
      tiers: this.#tiers,
    };
  }

  join(url: string, onState: (ready: boolean) => void): void {
    const log = new MembershipLog(this.config, url);
    this.#announcer = announce({
      join: this.config.join,
      hello: () => helloOf(this.config, this.#engine, this.prompts, url, this.#epoch),
      running: () => [...[...this.#live.values()].map(({ running }) => running), ...this.sender.running()],
      load: () => ({
        usedKvTokens: this.#engine.load().usedKvTokens,
        tiers: tierFills(this.#engine, this.#held.deviceBlocks, this.#tiers?.tiers ?? []),
        residency: residencyOf(this.#engine),
      }),
      entries: () => this.#held.entries(),
      entryCount: () => this.#held.size,
      onWelcome: ({ admissionKey, poolNowMs }) => {
        this.gate.welcome(admissionKey, poolNowMs, steadyNowMs());
        this.sender.welcome(admissionKey, poolNowMs, steadyNowMs());
      },
      onTime: (poolNowMs) => {
        this.gate.follow(poolNowMs, steadyNowMs());
        this.sender.follow(poolNowMs, steadyNowMs());
      },
      onCancel: (id, attempt) => {
        this.#live.get(`${id}/${attempt}`)?.run.cancel();
        this.sender.cancel(id, attempt);
      },
      onRefused: (message) => log.refused(message),
      onUnreached: (message) => log.unreached(message),
      onLeftOut: (message) => log.leftOut(message),
      onSocket: (event) => log.socket(event),
      onState: (ready) => {
        if (ready) log.joined();
        onState(ready);
      },
    });
    // What an earlier life left is asked for with the hello, not a heartbeat later.
    for (const entry of this.#held.entries()) this.#announcer.residency(entry);
  }

  drain(): void {
    this.#announcer?.drain();
  }

  async close(): Promise<void> {
    this.#announcer?.close();
    this.sender.close();
    await this.#supply?.close();
  }

  async start(request: InnerRequest, admission: Admission, order: SupplyOrder & { pinMs: number | null }): Promise<Started> {
    const opened = this.prompts.open(request, admission.salt, admission.chainTip);
    if (!opened.ok) return opened;
    const { id, attempt, salt } = admission;
    const given = { id: `${id}/${attempt}`, prompt: opened.text, cuts: opened.cuts, salt, contextTokens: this.#engine.card.contextTokens };
    const asked = engineRequest(request, { ...given, grammar: grammarOf(request) });
    const entered = await enterEngine(this.#engine, this.#supply, asked, order);
    if (!entered.ok) {
      const { reason } = entered.refusal;
      if (reason === "busy" || reason === "unavailable") this.#announcer?.lease({ event: "refused", id, attempt });
      return { ok: false, error: refusalError(request, entered.refusal, entered.first.grammar) };
    }
    const { first, run, kv } = entered;
    const choices = new Choices(run, request.n, (choice) => this.#engine.run(choiceRequest(first, choice)));
    const pin = (ms: number): void => kv.keep({ salt, ms });
    const begun = (): void => kv.keep(order.pinMs === null ? null : { salt, ms: order.pinMs });
    const events = this.#follow({ choices, count: request.n, admission, opened, kv, begun });
    return { ok: true, run: { events, prompt: opened.text, pin, cancel: () => choices.cancel() } };
  }

  /** Tokens of the prompt as the engine would get it. */
  async count(request: InnerRequest): Promise<Counted> {
    const rendered = this.prompts.render(request);
    if (!rendered.ok) return rendered;
    const counted = await this.#engine.count(rendered.text, rendered.cuts);
    if (counted.type === "refused") {
      return { ok: false, error: { ...apiError("overloaded", "The engine is down. Try again."), retryAfterSeconds: 1 } };
    }
    const { tokens } = counted;
    const { contextTokens } = this.#engine.card;
    // As of the request itself: an answer needs room too.
    if (tokens + 2 <= contextTokens) return { ok: true, tokens };
    const exact = tokens <= contextTokens + COUNTED_BEYOND_CONTEXT;
    return { ok: false, error: contextLengthError(request, { promptTokens: tokens, exact, contextTokens }) };
  }

  /** The tiers found on disk what an earlier life left: it is announced with the hello; what lies in the store, as soon as that is known. */
  #use(supply: KvSupply, { stack, listed }: OpenedTiers): void {
    this.#tiers = stack;
    this.#supply = supply;
    for (const [key, tierBits] of stack.entries()) this.#held.blockChanged(key, BELOW_DEVICE, tierBits);
    const { disk, store } = this.config.tiers;
    if (disk === null) return;
    let isListed = store === null;
    const log = new AnchorLog(`${disk.directory}.anchors`, (key) => !isListed || stack.bitsOf(key) !== 0);
    const forgetUnheld = this.#held.anchor([...log.anchors()]);
    this.#anchors = log;
    void listed.then((answered) => {
      isListed = answered;
      forgetUnheld();
    });
  }

  /** Passes the runs' events on and tells the pool of each step. */
  async *#follow({ choices, count, admission: { id, attempt }, opened, kv, begun }: Followed): AsyncGenerator<ChoiceEvent> {
    const reporter = new LeaseReporter({ id, attempt, choices: count, supplied: () => kv.supplied() }, (report) =>
      this.#announcer?.lease(report),
    );
    const name = `${id}/${attempt}`;
    this.#live.set(name, { running: reporter.running, run: choices });
    let endInterest = (): void => undefined;
    try {
      for await (const step of choices.events()) {
        // The others' blocks are the same.
        if (step.event.type === "queued" && step.event.blocks !== null && step.choice === 0) {
          const { tokenEnds, blockKeys } = step.event.blocks;
          endInterest = onceKnown(tokenEnds, (ends) => {
            const anchors = opened.anchors(ends, blockKeys);
            this.#anchors?.add(anchors);
            return this.#held.anchor(anchors);
          });
        }
        const prefilled = reporter.see(step);
        if (prefilled !== null) {
          kv.computed(prefilled);
          begun();
        }
        yield asTold(step, kv.supplied());
      }
    } finally {
      choices.cancel();
      endInterestOf(this.#engine.kv, endInterest);
      reporter.end();
      this.#live.delete(name);
    }
  }
}

/** What another replica computed for this request was computed, though not here. */
function asTold(step: ChoiceEvent, supplied: Supplied | null): ChoiceEvent {
  const { event } = step;
  const cachedTokens = supplied?.cachedElsewhere;
  if (cachedTokens === undefined || !("cachedTokens" in event)) return step;
  return { ...step, event: { ...event, cachedTokens } };
}

/** What a configuration asks in vain of an engine whose blocks do not leave it: tiers are left out and it is said, a role that lives by transfers is refused. */
function withoutExchange({ roles, tiers, name }: ReplicaConfig): { message: string } | null {
  if (!roles.includes("decode")) {
    return { message: "This engine can't give away what it computed: its replica can't have the role prefill alone (WARMPATH_ROLES)." };
  }
  if (tiers.disk !== null || tiers.store !== null) {
    logLine(`${name} uses no tier below the device: what its engine holds can't leave it.`);
  }
  return null;
}

interface Followed {
  choices: Choices;
  count: number;
  admission: Admission;
  opened: Opened;
  kv: PromptKv;
  /** The prompt is computed. */
  begun: () => void;
}
