import { BoundedMap } from "../bounded-map.ts";
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import type { EndOutcome, Lease, LeaseKey, Reservation, ReserveOutcome, Usage } from "./lease.ts";
import { PrefillWatch } from "./prefill-watch.ts";
import { ReplicaLoads, type LoadMeans, type LoadReading, meansBetween, type ReplicaLoad } from "./load.ts";
import { RESERVED_LIVES_MS } from "../limits.ts";

/** By then a replica has taken up what was sent to it, and a heartbeat has named it. One that nobody has heard of weighs nothing until it is heard of: its client may have left. */
const DOUBTED_AFTER_MS = 1_500;
/** Leases of a lost replica live on for this long. */
const LOST_LIVES_MS = 3_000;
/** A lease that its replica has taken up dies when so many heartbeats in a row omit it. */
const OMISSIONS_ALLOWED = 2;
export const MAX_LEASES = 8_192;

/** Timed claims on replicas' capacity. Every step may be repeated; time is the caller's (pool clock, ms). */
export class LeaseBook {
  readonly #live = new Map<string, Lease>();
  readonly #byReplica: Map<string, Lease>[] = Array.from({ length: MAX_REPLICAS }, () => new Map());
  /** Ended ones, oldest first, so that repeats and late usage are recognised. */
  readonly #ended: BoundedMap<string, Lease>;
  readonly #loads = new ReplicaLoads();
  /** To be asked which prefills are overdue; only this book says what becomes of them. */
  readonly prefills = new PrefillWatch();
  readonly #maxLeases: number;

  constructor(maxLeases = MAX_LEASES) {
    this.#maxLeases = maxLeases;
    this.#ended = new BoundedMap(maxLeases);
  }

  /** Live leases. */
  get size(): number {
    return this.#live.size;
  }

  /** Counts every step that changed a load. */
  get changes(): number {
    return this.#loads.changes;
  }

  get(key: LeaseKey): Lease | undefined {
    const name = nameOf(key);
    return this.#live.get(name) ?? this.#ended.get(name);
  }

  /** Live leases on a replica, those in doubt too. */
  count(replica: number): number {
    return this.#of(replica).size;
  }

  leasesOf(replica: number): Iterable<Lease> {
    return this.#of(replica).values();
  }

  /** What the live leases on a replica add up to; kept up to date by every step. */
  load(replica: number): ReplicaLoad {
    return this.#loads.of(replica);
  }

  /** Call before the dispatch: its 5 s begin at `nowMs`. Throws RangeError for a slot out of range. */
  reserve(reservation: Reservation): ReserveOutcome {
    const { id, attempt, replica, nowMs, promptTokens, uncachedTokens, predictedMs, salt, awaits = false, predicted, prompt } = reservation;
    const before = this.get(reservation);
    if (before !== undefined) return { kind: before.endedAtMs === null ? "repeated" : "over", lease: before };
    if (this.#live.size >= this.#maxLeases) return { kind: "refused", reason: `${this.#maxLeases} leases are live already` };
    const known = { ...(predicted === undefined ? {} : { predicted }), ...(prompt === undefined ? {} : { prompt }) };
    const claim = { id, attempt, replica, promptTokens, uncachedTokens, predictedMs, salt, awaits, reservedAtMs: nowMs, ...known };
    const untouched = {
      outputTokens: 0,
      firstTokenAtMs: null,
      firstTokenReading: null,
      firstTokenReported: false,
      omissions: 0,
      doubted: false,
      interrupted: false,
    };
    const lease: Lease = { ...claim, ...untouched, lostAtMs: null, endedAtMs: null, usage: null, state: "reserved" };
    this.#of(replica).set(nameOf(lease), lease);
    this.#live.set(nameOf(lease), lease);
    this.#loads.add(lease);
    this.prefills.began(lease, nowMs);
    return { kind: "reserved", lease };
  }

  /** The replica has taken it up. False when there is no such live lease. */
  started(key: LeaseKey, nowMs: number): boolean {
    const lease = this.#live.get(nameOf(key));
    if (lease?.state === "reserved") this.#takenUp(lease, nowMs);
    return lease !== undefined;
  }

  /** Tokens are coming: the first report takes its prefill out of the queue. Counts never go back. False when there is no such live lease. */
  decoding(key: LeaseKey, outputTokens: number, nowMs: number): boolean {
    const lease = this.#live.get(nameOf(key));
    if (lease === undefined) return false;
    if (lease.state === "reserved") this.#takenUp(lease, nowMs);
    if (lease.firstTokenAtMs === null) {
      this.prefills.computed(lease, nowMs);
      lease.state = "decoding";
      lease.firstTokenAtMs = nowMs;
      this.#loads.firstToken(lease, nowMs);
      lease.firstTokenReading = this.#loads.reading(lease.replica, nowMs);
    }
    this.#wrote(lease, outputTokens, nowMs);
    return true;
  }

  /** Counts never go back. */
  #wrote(lease: Lease, outputTokens: number, nowMs: number): void {
    const more = outputTokens - lease.outputTokens;
    if (more <= 0) return;
    lease.outputTokens = outputTokens;
    this.#loads.output(lease, more, nowMs);
  }

  /** The replica's final usage; also of one that had ended without. */
  settle(key: LeaseKey, usage: Usage, nowMs: number): EndOutcome {
    const name = nameOf(key);
    const live = this.#live.get(name);
    if (live !== undefined) {
      live.usage = usage;
      return { kind: "ended", lease: this.#end(live, "settled", nowMs) };
    }
    const ended = this.#ended.get(name);
    if (ended === undefined) return { kind: "unknown" };
    if (ended.state === "settled") return { kind: "repeated", lease: ended };
    ended.state = "settled";
    ended.usage = usage;
    return { kind: "late", lease: ended };
  }

  /** Leases on a replica that it has started and that have no first token. Looks at all of its leases. */
  prefilling(replica: number): number {
    let count = 0;
    for (const lease of this.#of(replica).values()) if (lease.state === "started") count++;
    return count;
  }

  /** What ran on the lease's replica since its first token: means over that time, itself included; null when there was no such time, or the replica fell silent in it. Ask before it ends. */
  besides(key: LeaseKey, nowMs: number): LoadMeans | null {
    const lease = this.#live.get(nameOf(key));
    const from = lease?.firstTokenReading ?? null;
    if (lease === undefined || from === null || lease.interrupted) return null;
    return meansBetween(from, this.#loads.reading(lease.replica, nowMs));
  }

  /** The sums over time of a replica's load, as of now. */
  reading(replica: number, nowMs: number): LoadReading {
    return this.#loads.reading(replica, nowMs);
  }

  /** The forward failed or was given up. */
  release(key: LeaseKey, nowMs: number): EndOutcome {
    const live = this.#live.get(nameOf(key));
    if (live !== undefined) return { kind: "ended", lease: this.#end(live, "released", nowMs) };
    const ended = this.#ended.get(nameOf(key));
    return ended === undefined ? { kind: "unknown" } : { kind: "repeated", lease: ended };
  }

  /** Ends those still reserved after 5 s and those whose replica has been lost for 3 s; returns them. Those reserved for 1.5 s weigh nothing from now on. */
  expire(nowMs: number): Lease[] {
    const dead: Lease[] = [];
    for (const lease of this.#live.values()) {
      if (nowMs >= deadlineMs(lease)) dead.push(lease);
      else if (nowMs >= doubtMs(lease)) this.#doubt(lease, nowMs);
    }
    return dead.map((lease) => this.#end(lease, "expired", nowMs));
  }

  #doubt(lease: Lease, nowMs: number): void {
    lease.doubted = true;
    this.prefills.gone(lease);
    this.#loads.subtract(lease, nowMs);
  }

  /** KV in use by running requests, as the replica reports it. */
  usedKv(replica: number, tokens: number): void {
    this.#loads.reported(replica, tokens);
  }

  /** When `expire` next has something to do, pool clock; null when it has not. Looks at every live lease. */
  nextDeadlineMs(): number | null {
    let next = Infinity;
    for (const lease of this.#live.values()) next = Math.min(next, deadlineMs(lease), doubtMs(lease));
    return next === Infinity ? null : next;
  }

  /**
   * The replica names what it has, queued ones too: naming is taking up. Ends and returns those it had taken up, by whatever word, that two
   * heartbeats in a row omitted: its frames come in their order, so that a lease is named from its start to its end.
   */
  heartbeat(replica: number, named: Iterable<LeaseKey & { outputTokens?: number }>, nowMs: number): Lease[] {
    const present = this.#name(replica, named, nowMs);
    for (const key of named) {
      const lease = this.#of(replica).get(nameOf(key));
      if (lease !== undefined && lease.firstTokenAtMs !== null) this.#wrote(lease, key.outputTokens ?? 0, nowMs);
    }
    const dead: Lease[] = [];
    for (const [name, lease] of this.#of(replica))
      if (lease.state !== "reserved" && !present.has(name) && ++lease.omissions >= OMISSIONS_ALLOWED) dead.push(lease);
    return dead.map((lease) => this.#end(lease, "expired", nowMs));
  }

  /** The replica is suspect: its leases live 3 s from now unless `reconcile` or `replicaRecovered` comes first. */
  replicaLost(replica: number, nowMs: number): void {
    for (const lease of this.#of(replica).values()) {
      lease.lostAtMs ??= nowMs;
      lease.interrupted = true;
    }
  }

  /** It was heard again over the same socket. */
  replicaRecovered(replica: number): void {
    for (const lease of this.#of(replica).values()) lease.lostAtMs = null;
  }

  /**
   * The same epoch is back: its list of running requests is the truth. Ends those it had taken up and no longer runs;
   * `unknown` are those it runs without a live lease: cancel them. One still reserved may be on its way and keeps its 5 s.
   */
  reconcile(replica: number, running: readonly LeaseKey[], nowMs: number): { expired: Lease[]; unknown: LeaseKey[] } {
    this.replicaRecovered(replica);
    const present = this.#name(replica, running, nowMs);
    const dead = [...this.#of(replica)]
      .filter(([name, lease]) => lease.state !== "reserved" && !present.has(name))
      .map(([, lease]) => lease);
    const unknown = running.filter((key) => !this.#of(replica).has(nameOf(key)));
    return { expired: dead.map((lease) => this.#end(lease, "expired", nowMs)), unknown };
  }

  /** The replica is forgotten or began a new epoch: ends all its leases. */
  forgetReplica(replica: number, nowMs: number): Lease[] {
    return [...this.#of(replica).values()].map((lease) => this.#end(lease, "expired", nowMs));
  }

  #name(replica: number, named: Iterable<LeaseKey>, nowMs: number): Set<string> {
    const present = new Set<string>();
    for (const key of named) {
      const name = nameOf(key);
      const lease = this.#of(replica).get(name);
      if (lease === undefined) continue;
      present.add(name);
      lease.omissions = 0;
      if (lease.state === "reserved") this.#takenUp(lease, nowMs);
    }
    return present;
  }

  #takenUp(lease: Lease, nowMs: number): void {
    lease.state = "started";
    if (!lease.doubted) return;
    lease.doubted = false;
    this.#loads.add(lease);
    this.prefills.began(lease, nowMs);
  }

  #end(lease: Lease, state: "settled" | "released" | "expired", nowMs: number): Lease {
    const name = nameOf(lease);
    this.#live.delete(name);
    this.#of(lease.replica).delete(name);
    if (!lease.doubted) {
      this.#loads.subtract(lease, nowMs);
      if (lease.firstTokenAtMs === null) this.prefills.gone(lease);
    }
    lease.state = state;
    lease.endedAtMs = nowMs;
    this.#ended.set(name, lease);
    return lease;
  }

  #of(replica: number): Map<string, Lease> {
    const leases = this.#byReplica[replica];
    if (leases === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    return leases;
  }
}

function deadlineMs(lease: Lease): number {
  const reserved = lease.state === "reserved" ? lease.reservedAtMs + RESERVED_LIVES_MS : Infinity;
  return lease.lostAtMs === null ? reserved : Math.min(reserved, lease.lostAtMs + LOST_LIVES_MS);
}

function doubtMs(lease: Lease): number {
  return lease.state === "reserved" && !lease.doubted ? lease.reservedAtMs + DOUBTED_AFTER_MS : Infinity;
}

function nameOf(key: LeaseKey): string {
  return `${key.attempt} ${key.id}`;
}
