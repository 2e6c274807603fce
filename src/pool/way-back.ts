/**
 * When a pool tries which replica's way back, and what the outcome means. A replica speaks over a socket that it opened itself, so its
 * heartbeats do not show that its URL leads to it. The shell fetches a signed nonce from there (src/wire/way-back.ts).
 *
 * - A replica that is here with its key is tried at once, and is ready from the first success on.
 * - A way that was open is tried again every 4 s. One failure may be chance: a second try follows 1 s later, and only then it counts as
 *   closed. With 2 s of patience a try, a way that breaks is closed after at most 9 s.
 * - A closed way is tried 10 s after the last try of that name, whatever epoch or URL it comes back with: a URL may be a stranger's.
 */
import type { MembershipEvent } from "./membership.ts";
import type { Replica } from "./replica.ts";

/** The shell's patience with one try, ms. */
export const TRY_MS = 2_000;
/** Between tries of an open way, ms. */
export const CHECK_MS = 4_000;
/** After the first failure of a way that was open, ms. */
const SECOND_TRY_MS = 1_000;
/** Between tries of a way that is not open, ms. */
export const RETRY_MS = 10_000;
/** A Durable Object waits for the headers of at most 6 fetches at once; more would queue there. */
export const MOST_TRIES_AT_ONCE = 6;
/** Names whose last failure is remembered. At most 64 replicas are here, and one that left is forgotten with its last failure. */
const MOST_NAMES = 1_024;

/** One try, as the shell is to make it. */
export interface WayTry {
  slot: number;
  name: string;
  epoch: number;
  url: string;
  /** It was open when the try began. */
  open: boolean;
}

/** `why`: a phrase, as "it answered 404". */
export type WayOutcome = { reached: true } | { reached: false; why: string };

interface Way {
  /** The socket by which the replica has shown that it has its key; null: it has not. */
  connection: number | null;
  /** The life that it has shown this for. */
  epoch: number;
  /** Under way. */
  trying: WayTry | null;
  /** When the next try is due, pool clock. */
  dueAtMs: number;
  /** In a row. */
  failures: number;
}

export class WaysBack {
  /** By name: the pace of tries outlives epochs and URLs. */
  readonly #ways = new Map<string, Way>();

  /** A heartbeat came: the replica has its welcome, and with it the key that it signs with. */
  heard(replica: Replica): void {
    const way = this.#of(replica.name);
    if (way.connection === replica.connection && way.epoch === replica.epoch) return;
    way.connection = replica.connection;
    way.epoch = replica.epoch;
    // What failed before, failed in another life: its first try is due unless the name is held back.
    if (!replica.admitted && way.failures === 0) way.dueAtMs = -Infinity;
  }

  /** Whom to try now; each counts as tried from here on. The shell says with `tried` how it went. */
  due(replicas: readonly Replica[], nowMs: number): WayTry[] {
    this.#forget(replicas, nowMs);
    let underWay = 0;
    for (const { trying } of this.#ways.values()) if (trying !== null) underWay++;
    const waiting = replicas.filter((replica) => this.#isDue(replica, nowMs));
    // Whoever has waited longest comes first: no name can keep others from being tried.
    waiting.sort((a, b) => this.#of(a.name).dueAtMs - this.#of(b.name).dueAtMs);
    return waiting.slice(0, Math.max(0, MOST_TRIES_AT_ONCE - underWay)).map(({ slot, name, epoch, url, admitted }) => {
      const next = { slot, name, epoch, url, open: admitted };
      this.#of(name).trying = next;
      return next;
    });
  }

  /** What the outcome means to membership; null: nothing, or it is not known yet. `replica`: who has the slot now. */
  tried(made: WayTry, outcome: WayOutcome, replica: Replica | undefined, nowMs: number): MembershipEvent | null {
    const way = this.#ways.get(made.name);
    if (way?.trying !== made) return null;
    way.trying = null;
    const { slot, epoch, open } = made;
    const isStill = replica?.name === made.name && replica.epoch === epoch && replica.url === made.url;
    if (outcome.reached) {
      way.failures = 0;
      way.dueAtMs = isStill ? nowMs + CHECK_MS : -Infinity;
      return isStill ? { kind: "admitted", slot, epoch } : null;
    }
    // A process that has ended could not answer, and that says nothing of its next life.
    if (open && (!isStill || replica.connection === null || replica.state === "suspect")) return null;
    way.failures++;
    const maybeChance = open && way.failures === 1;
    way.dueAtMs = nowMs + (maybeChance ? SECOND_TRY_MS : RETRY_MS);
    return maybeChance || !isStill ? null : { kind: "unreached", slot, epoch, reason: outcome.why };
  }

  /** Who is leaving takes nothing new, and who is silent is not ready anyway. */
  #isDue({ name, connection, epoch, state }: Replica, nowMs: number): boolean {
    if (connection === null || state === "suspect" || state === "draining") return false;
    const way = this.#ways.get(name);
    const hasKey = way?.connection === connection && way.epoch === epoch;
    return hasKey && way.trying === null && nowMs >= way.dueAtMs;
  }

  #of(name: string): Way {
    let way = this.#ways.get(name);
    if (way === undefined) {
      way = { connection: null, epoch: 0, trying: null, dueAtMs: -Infinity, failures: 0 };
      this.#ways.set(name, way);
    }
    return way;
  }

  /** Names that are not here and hold nothing back. */
  #forget(replicas: readonly Replica[], nowMs: number): void {
    if (this.#ways.size <= replicas.length) return;
    const here = new Set(replicas.map(({ name }) => name));
    for (const [name, way] of this.#ways) {
      if (here.has(name)) continue;
      if (this.#ways.size > MOST_NAMES || (way.trying === null && (way.failures === 0 || nowMs >= way.dueAtMs))) this.#ways.delete(name);
    }
  }
}
