/**
 * How many frames a replica may send over its socket: whoever sends more takes the thread that decides for everybody. Budgets are token buckets, one for each
 * kind and one for the length of all; a name's budget goes on over its sockets, so that a new socket brings no new one.
 */
import { BoundedMap } from "../bounded-map.ts";

export type FrameKind = "hello" | "heartbeat" | "leases" | "drain" | "residency" | "other";

interface Bound {
  perSecond: number;
  /** At once; what a stall of some seconds piles up is within it. */
  burst: number;
}

/** A replica sends a heartbeat a second, a hello for each socket and life of its engine, and all others at the pool's pace of at most 600 a second. */
const FRAMES: Readonly<Record<FrameKind, Bound>> = {
  hello: { perSecond: 1, burst: 10 },
  heartbeat: { perSecond: 4, burst: 40 },
  drain: { perSecond: 1, burst: 10 },
  leases: { perSecond: 600, burst: 3_000 },
  residency: { perSecond: 600, burst: 3_000 },
  other: { perSecond: 4, burst: 40 },
};
/** Characters of control frames: 500 requests a second, each reported by three reports of 300, are 450,000. A hello and a heartbeat have up to 512 K each. */
const CHARACTERS: Bound = { perSecond: 1_000_000, burst: 4_000_000 };
/** Bytes of residency: the whole of an index (16 bytes for each of a million entries) at a time. A full resync is asked for once in 30 s at most. */
const RESIDENCY_BYTES: Bound = { perSecond: 1_000_000, burst: 32_000_000 };
/** Sockets: a replica comes back once a second at most. */
const SOCKETS_OF_NAME: Bound = { perSecond: 2, burst: 20 };
/** From one address, of names that are not in the pool: 64 replicas at once may be behind it. And of all openers that say no name. */
const SOCKETS_OF_ADDRESS: Bound = { perSecond: 4, burst: 128 };
/** Names and addresses that are remembered; the one that was heard of longest ago makes room. */
const MOST_KEPT = 1_024;

class Bucket {
  readonly #bound: Bound;
  #left: number;
  #atMs: number;

  constructor(bound: Bound, nowMs: number) {
    this.#bound = bound;
    this.#left = bound.burst;
    this.#atMs = nowMs;
  }

  /** False: there is not so much left, and nothing was taken. */
  take(amount: number, nowMs: number): boolean {
    const { perSecond, burst } = this.#bound;
    this.#left = Math.min(burst, this.#left + (perSecond * Math.max(0, nowMs - this.#atMs)) / 1_000);
    this.#atMs = Math.max(this.#atMs, nowMs);
    if (this.#left < amount) return false;
    this.#left -= amount;
    return true;
  }
}

/** Of one name. */
class Budget {
  readonly #frames = new Map<FrameKind, Bucket>();
  readonly #characters: Bucket;
  readonly #residency: Bucket;
  readonly sockets: Bucket;

  constructor(nowMs: number) {
    this.#characters = new Bucket(CHARACTERS, nowMs);
    this.#residency = new Bucket(RESIDENCY_BYTES, nowMs);
    this.sockets = new Bucket(SOCKETS_OF_NAME, nowMs);
  }

  take(kind: FrameKind, length: number, nowMs: number): boolean {
    let bucket = this.#frames.get(kind);
    if (bucket === undefined) this.#frames.set(kind, (bucket = new Bucket(FRAMES[kind], nowMs)));
    return bucket.take(1, nowMs) && (kind === "residency" ? this.#residency : this.#characters).take(length, nowMs);
  }
}

export class FrameBudgets {
  /** Those used last come last. */
  readonly #names = new BoundedMap<string, Budget>(MOST_KEPT);
  readonly #addresses = new BoundedMap<string, Bucket>(MOST_KEPT);
  readonly #nameless = new Bucket(SOCKETS_OF_ADDRESS, 0);

  /** Whether a frame of so many characters, or bytes of residency, may be read; else its socket is to be closed. */
  frame(name: string, kind: FrameKind, length: number, nowMs: number): boolean {
    return this.#of(name, nowMs).take(kind, length, nowMs);
  }

  /**
   * Whether a name may open another socket; "": it says none. `address`: of its sender, null where it is not known; `isMember`: the name is in the pool,
   * and only its own bound counts.
   */
  socket(name: string, address: string | null, isMember: boolean, nowMs: number): boolean {
    if (name === "") return this.#nameless.take(1, nowMs);
    if (!this.#of(name, nowMs).sockets.take(1, nowMs)) return false;
    if (address === null || isMember) return true;
    return used(this.#addresses, address, () => new Bucket(SOCKETS_OF_ADDRESS, nowMs)).take(1, nowMs);
  }

  #of(name: string, nowMs: number): Budget {
    return used(this.#names, name, () => new Budget(nowMs));
  }
}

function used<T>(kept: BoundedMap<string, T>, key: string, make: () => T): T {
  const value = kept.get(key) ?? make();
  kept.set(key, value);
  return value;
}

const TYPE = /"type"\s*:\s*"(hello|heartbeat|leases|drain)"/;
/** Characters in which a replica says what a frame is. */
const HEAD = 256;

/** What a frame says it is, before it is parsed; what it is then must be the same. */
export function kindOfText(text: string): FrameKind {
  return (TYPE.exec(text.slice(0, HEAD))?.[1] as FrameKind | undefined) ?? "other";
}
