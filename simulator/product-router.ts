/**
 * The product in the fleet: its own pool. Simulated replicas tell it what real ones tell a pool object, in the same order, and it is asked as an edge
 * asks it. It learns the engines' rates from their reports; nothing of constants.ts is handed to it.
 */
import type { LeaseReport } from "../src/pool/frames.ts";
import type { LeaseKey } from "../src/pool/lease.ts";
import { createSegmentIndex } from "../src/residency/typed-array-index.ts";
import { DEFAULT_PROFILE } from "../src/decision/profiles.ts";
import type { Profile } from "../src/decision/decision.ts";
import { type DecideAnswer, type DecideRequest, Pool, type PoolEffect } from "../src/router/pool.ts";
import type { ExplainRecord } from "../src/explain/record.ts";
import type { PoolState } from "../src/router/state.ts";
import { AnnounceLine } from "./announce-line.ts";
import type { SimulatedRouter, RouterSetting, Placement, Question, Source } from "./simulated-router.ts";
import type { PlannedRequest } from "./plan.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";
import { HOLD_MS, POOL_TICK_MS } from "../src/limits.ts";

/** A replica's own queue, gpu-backend/config.ts. */
const QUEUE_LIMIT = 32;
/** What the pool makes of bytes it learns from replicas; any number would do. */
export const BYTES_PER_TOKEN = 4;
/** The embedded engine's protocol has no longer prompts; the plan has. */
const CONTEXT_TOKENS = 1 << 20;

export interface ProductOptions {
  profile: Profile;
  /** Least uncached tokens of a request that a prefill-only replica may prefill; null: no request. Absent: the product's default. */
  remotePrefillTokens?: number | null;
  /** Called with each decision as the pool keeps it; what came of it is filled in later. */
  decided?: ((record: ExplainRecord) => void) | undefined;
}

export class ProductRouter implements SimulatedRouter {
  readonly name: string;
  readonly #pool: Pool;
  readonly #setting: RouterSetting;
  readonly #decided: ProductOptions["decided"];
  readonly #lines = new Map<SimulatedReplica, AnnounceLine>();
  readonly #byName = new Map<string, SimulatedReplica>();
  /** Leases that a replica has been given and has not settled, by its name; it names them at each heartbeat. */
  readonly #working = new Map<string, Map<string, LeaseKey & { state: "started" | "decoding"; outputTokens: number }>>();
  /** Who waits in line, by request id. */
  readonly #open = new Map<string, number>();
  #connections = 1;
  #asked = 0;

  constructor(setting: RouterSetting, options: ProductOptions) {
    this.name = options.profile.name === DEFAULT_PROFILE ? "warmpath" : `warmpath ${options.profile.name}`;
    this.#setting = setting;
    this.#decided = options.decided;
    this.#pool = new Pool({
      index: createSegmentIndex({}),
      remotePrefillTokens: options.remotePrefillTokens,
      profile: options.profile,
      random: setting.draw,
      mint: () => "admission",
      mintTicket: () => "ticket",
    });
    this.#tick();
  }

  get state(): PoolState {
    return this.#pool.state;
  }

  ask(question: Question, answer: (placement: Placement) => void): void {
    const asked = ++this.#asked;
    const { request } = question;
    this.#open.set(idOf(request), asked);
    this.#decide(requestOf(question, this.#nameOf), asked, answer);
  }

  /** Asked again at once when the pool has held the call long enough, as an edge does. */
  #decide(request: DecideRequest, asked: number, answer: (placement: Placement) => void): void {
    const { timeline } = this.#setting;
    let answered = false;
    const take = (said: DecideAnswer): void => {
      if (answered) return;
      answered = true;
      if (this.#open.get(request.id) !== asked) return;
      if (said.type === "waiting") return this.#decide(request, asked, answer);
      this.#open.delete(request.id);
      answer(this.#placementOf(request, said));
    };
    const { answer: said, effects } = this.#pool.decide(request, timeline.nowMs, take);
    this.#carryOut(effects);
    if (said !== null) return take(said);
    timeline.after(HOLD_MS, () => {
      if (!answered) take(this.#pool.waitedEnough(request.id, take));
    });
  }

  giveUp(request: PlannedRequest, attempt: number | null): void {
    const id = idOf(request);
    const { nowMs } = this.#setting.timeline;
    this.#open.delete(id);
    if (attempt === null) this.#carryOut(this.#pool.leave(id, nowMs));
    else {
      for (const working of this.#working.values()) {
        working.delete(`${id} ${attempt}`);
        working.delete(`${id}~prefill ${attempt}`);
      }
      this.#carryOut(this.#pool.release({ id, attempt }, nowMs));
    }
  }

  joined(replica: SimulatedReplica): void {
    const { timeline } = this.#setting;
    const { kvTokens, blockTokens, maxSequences, stepTokens } = replica.constants;
    const capacity = { sequences: maxSequences, kvTokens, blockTokens, contextTokens: CONTEXT_TOKENS, queueLimit: QUEUE_LIMIT, stepTokens };
    const { name, epoch, roles, transfers } = replica;
    const said = {
      name,
      epoch,
      url: `https://${name}.invalid`,
      roles,
      model: "simulated",
      specFingerprint: "simulated",
      capacity,
      transfers,
    };
    const introduction = { hello: said, connection: this.#connections++, admitted: true, running: [], seq: 0 };
    const effects = this.#pool.hello(introduction, timeline.nowMs);
    const slot = this.state.named(name)?.slot;
    if (slot === undefined) throw new RangeError(`the pool did not take ${name}`);
    this.#byName.set(name, replica);
    const working = new Map<string, LeaseKey & { state: "started" | "decoding"; outputTokens: number }>();
    this.#working.set(name, working);
    const running = (): LeaseKey[] => {
      for (const sequence of replica.engine.running) {
        const lease = working.get(sequence.job.key);
        if (lease !== undefined) lease.outputTokens = replica.engine.outputOf(sequence, timeline.nowMs);
      }
      return [...working.values()].map((lease) => ({ ...lease }));
    };
    this.#lines.set(replica, new AnnounceLine(replica, slot, this.#setting, this.#pool, this.#carryOut, running));
    this.#carryOut(effects);
  }

  left(replica: SimulatedReplica): void {
    const { nowMs } = this.#setting.timeline;
    const line = this.#lines.get(replica);
    if (line === undefined) return;
    line.close();
    this.#lines.delete(replica);
    this.#working.delete(replica.name);
    const connection = this.state.replica(line.slot)?.connection ?? -1;
    this.#carryOut(this.#pool.parted(line.slot, connection, nowMs));
  }

  lease(replica: SimulatedReplica, step: LeaseReport): void {
    const { nowMs } = this.#setting.timeline;
    const line = this.#lines.get(replica);
    if (line === undefined) return;
    const working = this.#working.get(replica.name);
    const named = working?.get(`${step.id} ${step.attempt}`);
    if (step.event === "settled" || step.event === "refused") working?.delete(`${step.id} ${step.attempt}`);
    else if (named !== undefined && step.event === "decoding") named.state = "decoding";
    this.#carryOut(this.#pool.leaseReports(line.slot, [step], nowMs));
  }

  changed(replica: SimulatedReplica, segments: readonly number[]): void {
    this.#lines.get(replica)?.changed(segments);
  }

  /** The fleet itself cancels and ends what its replicas do. */
  readonly #carryOut = (effects: readonly PoolEffect[]): void => {
    for (const effect of effects) if (effect.kind === "answer") effect.to(effect.answer);
  };

  readonly #nameOf = (replica: number): string => `r${replica}`;

  #placementOf(request: DecideRequest, said: DecideAnswer): Placement {
    if (said.type !== "replica") return { kind: "refused" };
    const replica = this.#byName.get(said.replica)?.number ?? -1;
    const { attempt, load = true } = said;
    const record = this.#decided === undefined ? undefined : this.state.ring.attempts(request.id, request.tenant).at(-1);
    if (record !== undefined) this.#decided?.(record);
    this.#takeUp(said.replica, request.id, attempt);
    const from = said.prefill ?? said.pull;
    const sender = from === undefined ? undefined : this.#byName.get(from.replica);
    if (sender === undefined) return { kind: "placed", replica, attempt, source: null, loads: load };
    const source: Source = { kind: said.prefill === undefined ? "pull" : "prefill", replica: sender.number };
    if (source.kind === "prefill") this.#takeUp(sender.name, `${request.id}~prefill`, attempt);
    return { kind: "placed", replica, attempt, source, loads: load };
  }

  #takeUp(name: string, id: string, attempt: number): void {
    this.#working.get(name)?.set(`${id} ${attempt}`, { id, attempt, state: "started", outputTokens: 0 });
  }

  #tick(): void {
    const { timeline } = this.#setting;
    timeline.after(POOL_TICK_MS, () => {
      this.#carryOut(this.#pool.tick(timeline.nowMs));
      this.#tick();
    });
  }
}

/** Ids as leases carry them. */
export function idOf({ id }: PlannedRequest): string {
  return String(id);
}

function requestOf({ request, arrivedAtMs, failed, deadlineMs, tpotMs }: Question, nameOf: (replica: number) => string): DecideRequest {
  const { chain, promptTokens, session } = request;
  const promptBytes = promptTokens * BYTES_PER_TOKEN;
  return {
    id: idOf(request),
    tenant: "simulated",
    salt: "simulated",
    fingerprint: "simulated",
    chain,
    promptBytes,
    path: "/v1/chat/completions",
    bodyBytes: promptBytes,
    digest: "",
    arrivedAtMs,
    session,
    ...(deadlineMs === null ? {} : { deadlineMs }),
    ...(tpotMs === null ? {} : { tpotMs }),
    failed: failed.map(({ replica, attempt }) => ({ replica: nameOf(replica), attempt })),
  };
}
