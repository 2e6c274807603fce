/** Whom a request may go to, and how long it may rather wait for another one that holds more of its prompt. */
import type { Request } from "../edge.ts";
import type { Replica } from "../replica.ts";
import type { Watch } from "../watch.ts";
import type { World } from "../world.ts";

/** Exclusion ends after this, or with the replica's life. */
const EXCLUDED_MS = 10_000;
/** So many failures of one life are the least that leaves it out for everybody, and so long at most since the last, or since somebody tried it. */
const FAILED_EVERYBODY = 3;
const LEFT_OUT_MS = 10_000;
/** How long an overdue prefill binds others, from when it began: its prediction. */
export type Overdue = (predictedMs: number) => number;
export const TEN_SECONDS: Overdue = (predictedMs) => predictedMs + 10_000;
export const THREE_TIMES: Overdue = (predictedMs) => Math.min(3 * predictedMs, TEN_SECONDS(predictedMs));

/** In truth, and the pool has been told: it takes requests. */
export function isReadyFor(world: World, replica: Replica): boolean {
  const { alive, connection, frozen, draining, setup, slot, name } = replica;
  const { roles = ["prefill", "decode"] } = setup;
  if (!alive || connection === null || frozen || draining || !roles.includes("decode")) return false;
  // One that leaves prompts to others waits for those.
  if (!roles.includes("prefill") && world.replicas.some((other) => other.alive && other !== replica)) return false;
  const known = world.pool.state.replica(slot);
  return known?.name === name && known.state === "ready";
}

export class Warmth {
  readonly #world: World;
  /** When a replica's prefills went on last: one was leased where none ran, or had its first token. True time. */
  readonly #turnSince = new Map<Replica, number>();
  readonly #lifeSince = new Map<Replica, number>();
  readonly #placedAtMs = new Map<Replica, number>();
  /** When the pool was last seen to leave it out, and had reason to; true time. */
  readonly #outAtMs = new Map<Replica, number>();

  constructor(world: World) {
    this.#world = world;
  }

  get watch(): Pick<Watch, "placed" | "reported" | "joined"> {
    const went = (replica: Replica): void => void this.#turnSince.set(replica, this.#world.nowMs);
    return {
      placed: (_request, replica) => {
        this.#placedAtMs.set(replica, this.#world.nowMs);
        const leases = [...this.#world.pool.state.leases.leasesOf(replica.slot)];
        if (leases.filter(({ firstTokenAtMs }) => firstTokenAtMs === null).length <= 1) went(replica);
      },
      reported: (replica, { event }) => {
        if (event === "decoding") went(replica);
      },
      joined: (replica) => void this.#lifeSince.set(replica, this.#world.nowMs),
    };
  }

  /** True time since when it may go there. */
  maySince({ failures, waitsSinceMs }: Request, replica: Replica): number {
    let sinceMs = Math.max(waitsSinceMs, this.#backSinceMs(replica));
    for (const failure of failures) {
      if (failure.replica !== replica) continue;
      const isSameLife = failure.epoch === replica.epoch;
      sinceMs = Math.max(sinceMs, isSameLife ? failure.atMs + EXCLUDED_MS : (this.#lifeSince.get(replica) ?? Infinity));
    }
    return sinceMs;
  }

  /** It failed everybody, and is left out for a while: then the time has not begun yet. */
  #backSinceMs(replica: Replica): number {
    const { edge, nowMs, pool } = this.#world;
    const failures = edge.failuresOf(replica);
    if (failures === undefined || failures.epoch !== replica.epoch || failures.count < FAILED_EVERYBODY) return -Infinity;
    const sinceMs = Math.max(failures.atMs, this.#placedAtMs.get(replica) ?? -Infinity);
    const isOut = pool.state.breaker.isOut(replica.slot, replica.epoch, pool.nowMs());
    if (isOut && nowMs - sinceMs <= LEFT_OUT_MS) this.#outAtMs.set(replica, nowMs);
    return this.#outAtMs.get(replica) ?? -Infinity;
  }

  /** How long it may wait for another one, ms: while that one's prefills go on, and never much longer than the idle one would take itself. */
  excusedMs(request: Request, idle: Replica, overdue: Overdue): number {
    const world = this.#world;
    const own = this.#announcedSegments(request, idle);
    let excused = false;
    for (const other of world.replicas) {
      // Of one that has just fallen silent the pool cannot know.
      if (other === idle || world.pool.state.replica(other.slot)?.state !== "ready" || this.#sharedSegments(request, other) <= own)
        continue;
      if (world.nowMs <= this.#overdueAtMs(other, overdue)) excused = true;
    }
    return excused ? TEN_SECONDS(6 * idle.prefillMs(0, request.prompt.tokens)) : 0;
  }

  /** When its oldest prefill binds nobody any more, true time. */
  #overdueAtMs(replica: Replica, overdue: Overdue): number {
    let firstAtMs = Infinity;
    let predictedMs = 0;
    for (const lease of this.#world.pool.state.leases.leasesOf(replica.slot)) {
      if (lease.firstTokenAtMs !== null || lease.reservedAtMs >= firstAtMs) continue;
      firstAtMs = lease.reservedAtMs;
      ({ predictedMs } = lease);
    }
    return (this.#turnSince.get(replica) ?? this.#world.nowMs) + overdue(predictedMs) + 1_300;
  }

  /** What it holds of the prompt and has announced: of the rest the pool cannot know. */
  #announcedSegments({ prompt: { chain } }: Request, { held, slot }: Replica): number {
    const { index } = this.#world.pool.state;
    const missing = chain.findIndex((hash) => held.get(hash) === undefined || index.tiersOf(hash, slot) === 0);
    return missing === -1 ? chain.length : missing;
  }

  /** What it holds of the prompt, or will when what it was given is computed. */
  #sharedSegments({ prompt: { chain } }: Request, replica: Replica): number {
    let most = 0;
    while (most < chain.length && replica.held.get(chain[most] ?? 0n) !== undefined) most++;
    for (const other of this.#world.edge.open.values()) {
      if (other.on !== replica) continue;
      let shared = 0;
      while (shared < chain.length && chain[shared] === other.prompt.chain[shared]) shared++;
      most = Math.max(most, shared);
    }
    return most;
  }
}
