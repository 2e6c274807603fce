/** One history played: the pool's core, its replicas and its edges in virtual time, watched by the invariants. */
import type { Decision } from "../../../src/decision/decision.ts";
import { type ExplainRecord, replay } from "../../../src/explain/record.ts";
import { Timeline } from "../../../simulator/timeline.ts";
import { CorePool } from "./core-pool.ts";
import { Edge, type Request } from "./edge.ts";
import type { Ask, Setup, Step } from "./history.ts";
import { HostileVoice } from "./hostile-voice.ts";
import { keyText } from "./jobs.ts";
import { keptRecord } from "./kept-record.ts";
import { entriesOf, share } from "./prompts.ts";
import { Replica } from "./replica.ts";
import type { Invariant, Violation, Watch } from "./watch.ts";

/** As workers/objects/pool-object.ts does; while nobody asks for hours, less often. */
const TICK_MS = 250;
const IDLE_TICK_MS = 1_000;
const CLOCK_STARTS_AT_MS = 1_700_000_000_000;
/** Faults are over for so long before the end is looked at, and longer while answers are still written. */
const SETTLING_MS = 60_000;
const MOST_SETTLING = 40;

type Hook = keyof Watch;
type Arguments<Name extends Hook> = Parameters<NonNullable<Watch[Name]>>;

export class World {
  readonly setup: Setup;
  readonly timeline = new Timeline();
  readonly pool: CorePool;
  readonly edge: Edge;
  readonly replicas: readonly Replica[];
  readonly violations: Violation[] = [];
  /** Of the wall clock against true time. */
  #offsetMs = CLOCK_STARTS_AT_MS;
  #draws = 0;
  #connections = 1;
  #tickMs = TICK_MS;
  #step = -1;
  #replayed: { key: string; record: ExplainRecord; decision: Decision } | null = null;
  readonly #watches: readonly Watch[];
  readonly #hostile: HostileVoice;
  /** Events while nothing but time passed for hours: not counted as fuzzed. */
  idleEvents = 0;

  constructor(setup: Setup, invariants: readonly Invariant[]) {
    this.setup = setup;
    this.pool = new CorePool({
      remotePrefillTokens: setup.remotePrefillTokens,
      random: () => share(setup.seed, this.#draws++),
      wallMs: () => this.timeline.nowMs + this.#offsetMs,
    });
    this.edge = new Edge(this);
    this.replicas = setup.replicas.map((replica, number) => new Replica(number, replica, this));
    this.#hostile = new HostileVoice(this);
    this.#watches = invariants.map((invariant) => {
      let failed = false;
      return invariant.watch(this, (message) => {
        if (failed) return;
        failed = true;
        this.broke(invariant.name, message);
      });
    });
    for (const replica of this.replicas) replica.start();
    this.#tick();
  }

  get nowMs(): number {
    return this.timeline.nowMs;
  }

  nextConnection(): number {
    return this.#connections++;
  }

  named(name: string): Replica | undefined {
    return this.replicas[Number(name.slice(1))];
  }

  broke(invariant: string, message: string): void {
    this.violations.push({ invariant, message, step: this.#step, events: this.pool.events - this.idleEvents });
  }

  /** Decided again from its record; the last one is kept. */
  decisionOf(request: Request): { record: ExplainRecord; decision: Decision } | null {
    const key = keyText(request);
    if (this.#replayed?.key === key) return this.#replayed;
    const record = keptRecord(this.pool.state, request);
    if (record === null) return null;
    this.#replayed = { key, record, decision: replay(record) };
    return this.#replayed;
  }

  tell<Name extends Hook>(hook: Name, ...told: Arguments<Name>): void {
    for (const watch of this.#watches) (watch[hook] as ((...all: Arguments<Name>) => void) | undefined)?.(...told);
  }

  pass(ms: number): void {
    let over = false;
    this.timeline.at(this.nowMs + ms, () => (over = true));
    while (!over) this.timeline.step();
  }

  #tick(): void {
    this.timeline.after(this.#tickMs, () => {
      for (const effect of this.pool.tick()) {
        if (effect.kind !== "forget") continue;
        const replica = this.named(effect.replica.name);
        if (replica === undefined) continue;
        this.tell("forgotten", replica);
        if (replica.connection === effect.replica.connection && replica.connection !== null) replica.partedByPool();
      }
      this.tell("ticked");
      this.#tick();
    });
  }

  play(steps: readonly Step[], until: (world: World) => boolean = () => false): void {
    for (const [at, step] of steps.entries()) {
      this.#step = at;
      this.#do(step);
      if (until(this)) return;
    }
    this.#step = steps.length;
    this.#settle();
  }

  /** All faults end, everybody is there, nobody asks: then nothing may be left. */
  #settle(): void {
    for (const replica of this.replicas) {
      replica.journal.loses = 0;
      if (replica.draining) replica.die();
      replica.start();
    }
    this.pass(SETTLING_MS);
    const goesOn = (): boolean => this.edge.open.size > 0 || this.replicas.some(({ hung }) => hung);
    for (let more = 0; more < MOST_SETTLING && goesOn(); more++) this.pass(SETTLING_MS);
    this.tell("ended");
  }

  #do(step: Step): void {
    switch (step.do) {
      case "pass":
        return this.pass(step.ms);
      case "idle": {
        const { events } = this.pool;
        this.#tickMs = IDLE_TICK_MS;
        this.pass(step.ms);
        this.#tickMs = TICK_MS;
        this.idleEvents += this.pool.events - events;
        return;
      }
      case "jump":
        this.pool.events++;
        this.#offsetMs += step.ms;
        return this.tell("jumped");
      case "ask":
        return this.#ask(step);
      case "leave":
        return this.edge.leave(step.id);
      case "checkpoint":
        return this.pool.checkpoint();
      case "forget":
        return this.#forget();
      default: {
        const replica = this.replicas[step.replica];
        if (replica !== undefined) this.#doTo(replica, step);
      }
    }
  }

  #doTo(replica: Replica, step: Extract<Step, { replica: number }>): void {
    const { nowMs } = this;
    switch (step.do) {
      case "die":
        return replica.die();
      case "restart":
        replica.die();
        return this.timeline.after(step.afterMs, () => replica.start());
      case "cut":
        return replica.cut(step.ms);
      case "freeze":
        replica.frozenUntilMs = Math.max(replica.frozenUntilMs, nowMs + step.ms);
        return;
      case "hang":
        replica.hungUntilMs = Math.max(replica.hungUntilMs, nowMs + step.ms);
        return;
      case "drain":
        return replica.drain();
      case "lose":
        replica.journal.loses = step.frames;
        return;
      case "use":
        return this.#use(step);
      case "evict":
      case "fill":
      case "empty":
        return change(replica, step);
      default:
        return this.#hostile.say(replica, step);
    }
  }

  #ask(step: Ask): void {
    const { count = 1, everyMs = 0, id } = step;
    for (let at = 0; at < count; at++) {
      if (at === 0) this.edge.ask(step, id);
      else this.timeline.after(at * everyMs, () => this.edge.ask(step, id + at));
    }
  }

  #use({ id, replica, from, count }: Extract<Step, { do: "use" }>): void {
    const chain = entriesOf(replica, from, count);
    const ask: Ask = { do: "ask", id, conversation: -1, tokens: 1, outputTokens: 1, counts: true };
    this.edge.ask(ask, id, { chain, tokens: 1 });
  }

  #forget(): void {
    this.pool.forget();
    this.#replayed = null;
    this.tell("poolForgot");
    this.edge.poolForgot();
    // The object asks all of its sockets to say hello again.
    for (const replica of this.replicas) {
      replica.connection = null;
      replica.later(10 + replica.number, () => replica.hello());
    }
  }
}

function change(replica: Replica, step: Extract<Step, { do: "evict" | "fill" | "empty" }>): void {
  if (!replica.alive) return;
  const { held, journal, number } = replica;
  if (step.do === "evict") held.evict(Math.ceil(step.tokens / 64));
  else if (step.do === "fill") held.fill(entriesOf(number, step.from, step.count), step.from, step.sameDepth === true);
  else held.empty(entriesOf(number, step.from, step.count));
  journal.flush(replica.connection !== null);
}
