/**
 * What replicas will hold once the requests leased to them are computed: the chain of every lease, from the lease until the replica says
 * itself that it holds it. So that siblings follow the first of them at once, however late events come; and for replicas that never say
 * what they hold, all that is known of them: a model of their cache, least recently leased out first.
 *
 * Example: replica 2 has a lease with the chain [a, b, c] and no first token yet; longest(2, [a, b, d], 0) is 2 segments.
 */
import type { SegmentHash } from "../prefix/chain.ts";
import type { Lease } from "./lease.ts";
import { MAX_REPLICAS } from "../residency/segment-index.ts";

/** Events may come so late after a first token; what is not announced by then is believed no longer. */
export const PATH_LIVES_MS = 10_000;
/** Dead ones are thrown out when there are so many in all: every decision looks at each. */
const SWEPT_FROM = 8;
/** A path that a replica was found to hold although it had announced less. */
const REPAIRED_LIVES_MS = 60_000;
/** Of one replica; the oldest is dropped. */
export const MOST_PATHS = 256;
/** How a silent replica's modelled size moves when it reused less, or more, than the model said. */
const SHRINK = 0.98;
const GROW = 1.01;
const LEAST_SHARE = 0.1;
/** Below this a difference is one of blocks and segments. */
const SLACK_TOKENS = 512;

interface Path {
  lease: Lease;
  /** Hashes of what it is believed to hold of the chain, in halves: comparing numbers makes no garbage. */
  halves: Uint32Array;
  length: number;
  /** Its last hash, and the one before. */
  tip: bigint;
  beforeTip: bigint;
  promptTokens: number;
  promptBytes: number;
  /** What it alone holds in a silent replica's model: shared parts are the latest path's. */
  ownTokens: number;
  livesMs: number;
  fetched: boolean;
  /** The replica has announced its end: from the first token on the index alone speaks for it. */
  announced: boolean;
  /** What was announced when it was leased ends one segment before it: that this segment is announced says nothing of it. */
  beforeTipKnown: boolean;
}

interface Shelf {
  /** Oldest first. */
  paths: Path[];
  /** It has announced residency at least once. */
  announces: boolean;
  /** Of a silent replica's model. */
  sizeShare: number;
}

interface LeasedPrompt {
  chain: BigUint64Array;
  promptBytes: number;
  fetched: boolean;
  /** Leading segments that its replica has announced already; absent: none. */
  announcedSegments?: number;
}

interface LongestPath {
  /** Leading segments that it shares. */
  segments: number;
  promptTokens: number;
  promptBytes: number;
  /** Length of its chain. */
  length: number;
}

export class PredictedPaths {
  readonly #shelves: Shelf[] = Array.from({ length: MAX_REPLICAS }, freshShelf);

  /**
   * A request with this chain was leased.
   *
   * @param prompt.fetched it comes from another replica: who starts before it is there computes it again, so it is followed from its first token on.
   * @param kvTokens the replica's capacity.
   */
  add(lease: Lease, { chain, promptBytes, fetched, announcedSegments = 0 }: LeasedPrompt, kvTokens: number, nowMs: number): void {
    if (chain.length === 0) return;
    const shelf = this.#shelf(lease.replica);
    const { promptTokens } = lease;
    const tip = chain.at(-1) ?? 0n;
    const ends = { length: chain.length, tip, beforeTip: chain.at(-2) ?? tip };
    const path: Path = {
      lease,
      halves: halvesOf(chain),
      ...ends,
      promptTokens,
      promptBytes,
      ownTokens: promptTokens,
      livesMs: PATH_LIVES_MS,
      fetched,
      announced: announcedSegments >= chain.length,
      beforeTipKnown: announcedSegments >= chain.length - 1,
    };
    const nearest = nearestTo(shelf, path);
    if (nearest !== null) takeOver(shelf, path, nearest);
    shelf.paths.push(path);
    if (shelf.announces) sweep(shelf, nowMs);
    else fit(shelf, kvTokens);
    while (shelf.paths.length > MOST_PATHS) shelf.paths.shift();
  }

  /** Its first token is here: `promptTokens` and `cachedTokens` as its replica counted them, `believedTokens` what was expected to be cached. */
  firstToken(lease: Lease, promptTokens: number, cachedTokens: number, believedTokens: number): void {
    const shelf = this.#shelf(lease.replica);
    const path = shelf.paths.find((other) => other.lease === lease);
    if (path === undefined) return;
    path.ownTokens *= promptTokens / Math.max(1, path.promptTokens);
    path.promptTokens = promptTokens;
    if (shelf.announces && path.announced) {
      shelf.paths = shelf.paths.filter((other) => other !== path);
      return;
    }
    const more = cachedTokens - believedTokens;
    if (more > SLACK_TOKENS) path.livesMs = REPAIRED_LIVES_MS;
    if (shelf.announces) return;
    if (more > SLACK_TOKENS) shelf.sizeShare = Math.min(1, shelf.sizeShare * GROW);
    else if (more < -SLACK_TOKENS) shelf.sizeShare = Math.max(LEAST_SHARE, shelf.sizeShare * SHRINK);
  }

  /**
   * The replica says what it holds. Of paths that end there, or one segment further (a last segment may end in a block that is not full), it speaks for
   * itself: from now on, or from the first token on, as siblings follow a prompt while it is computed. One segment further counts where it is news: a
   * shared beginning that was announced before the lease does not tell that the prompt's own end has come. What is given up there ends a path that
   * has its first token, too; one that is computed yet comes anew.
   */
  announced(replica: number, hashes: Iterable<SegmentHash>, givenUp: Iterable<SegmentHash> = []): void {
    const shelf = this.#shelf(replica);
    shelf.announces = true;
    if (shelf.paths.length === 0) return;
    const named = new Set(hashes);
    const gone = new Set(givenUp);
    for (const path of shelf.paths) {
      const wasGivenUp = gone.has(path.tip) || gone.has(path.beforeTip);
      if (wasGivenUp) path.beforeTipKnown = false;
      path.announced ||= named.has(path.tip) || (!path.beforeTipKnown && named.has(path.beforeTip));
      if (wasGivenUp && path.lease.firstTokenAtMs !== null) path.announced = true;
    }
    const stays = ({ announced, lease }: Path): boolean => !announced || lease.firstTokenAtMs === null;
    if (!shelf.paths.every(stays)) shelf.paths = shelf.paths.filter(stays);
  }

  forgetReplica(replica: number): void {
    this.#shelves[replica] = freshShelf();
  }

  count(replica: number): number {
    return this.#shelf(replica).paths.length;
  }

  /** The path that shares most of the chain with it, and more than `from` segments; null when none does. `halves`: of the chain. */
  longest(replica: number, halves: Uint32Array, from: number, nowMs: number): LongestPath | null {
    const { paths, announces } = this.#shelf(replica);
    let most = from;
    let found: Path | null = null;
    for (let at = paths.length - 1; at >= 0; at--) {
      const path = paths[at];
      if (path === undefined) continue;
      // Hashes are cumulative: whoever differs at the first segment beyond the best so far shares no more.
      if (!sameAt(path.halves, halves, most) || !isAlive(path, announces, nowMs)) continue;
      most = sharedSegments(path.halves, halves, most + 1);
      found = path;
    }
    if (found === null) return null;
    const { promptTokens, promptBytes, length } = found;
    return { segments: most, promptTokens, promptBytes, length };
  }

  #shelf(replica: number): Shelf {
    const shelf = this.#shelves[replica];
    if (shelf === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    return shelf;
  }
}

/** Low and high half of every hash, a copy. */
export function halvesOf(chain: BigUint64Array): Uint32Array {
  return new Uint32Array(chain.slice().buffer);
}

function freshShelf(): Shelf {
  return { paths: [], announces: false, sizeShare: 1 };
}

/** Before its first token it lives as its lease does, unless it is fetched; after it, until events must have come. */
function isAlive({ lease, livesMs, fetched }: Path, announces: boolean, nowMs: number): boolean {
  if (lease.firstTokenAtMs === null) return lease.endedAtMs === null && !fetched;
  return !announces || nowMs - lease.firstTokenAtMs < livesMs;
}

function sweep(shelf: Shelf, nowMs: number): void {
  if (shelf.paths.length < SWEPT_FROM) return;
  // What is fetched is followed once it is there, and kept until then.
  shelf.paths = shelf.paths.filter((path) => path.lease.endedAtMs === null || isAlive(path, true, nowMs));
}

interface Nearest {
  path: Path;
  segments: number;
}

/** The path that shares most with a new one, of equals the latest. */
function nearestTo(shelf: Shelf, path: Path): Nearest | null {
  let segments = 0;
  let nearest: Path | null = null;
  for (let at = shelf.paths.length - 1; at >= 0; at--) {
    const other = shelf.paths[at];
    if (other === undefined || !sameAt(other.halves, path.halves, segments)) continue;
    segments = sharedSegments(other.halves, path.halves, segments + 1);
    nearest = other;
  }
  return nearest === null ? null : { path: nearest, segments };
}

/**
 * What a path alone holds is its end, from some token on. Of that, what a new path shares is the new one's from now on; a path that was
 * computed and has nothing else is not needed any more.
 */
function takeOver(shelf: Shelf, path: Path, { path: other, segments }: Nearest): void {
  const sharedTokens = Math.min(path.promptTokens, (other.promptTokens * segments) / other.length);
  const taken = Math.min(other.ownTokens, Math.max(0, sharedTokens - (other.promptTokens - other.ownTokens)));
  const whole = 2 * segments === other.halves.length && other.lease.firstTokenAtMs !== null;
  path.ownTokens = path.promptTokens - sharedTokens + (whole ? other.ownTokens : taken);
  if (whole) shelf.paths.splice(shelf.paths.indexOf(other), 1);
  else other.ownTokens -= taken;
}

/** Cuts the ends of the oldest until the rest fits into the replica's KV cache, as engines evict. What is leased stays. */
function fit(shelf: Shelf, kvTokens: number): void {
  let over = -kvTokens * shelf.sizeShare;
  for (const path of shelf.paths) over += path.ownTokens;
  if (over <= 0) return;
  shelf.paths = shelf.paths.filter((path) => {
    if (over <= 0 || path.lease.endedAtMs === null) return true;
    const cut = Math.min(over, path.ownTokens);
    over -= cut;
    path.ownTokens -= cut;
    if (path.ownTokens <= 0) return false;
    const segments = Math.ceil((cut / path.promptTokens) * path.length);
    path.halves = path.halves.subarray(0, Math.max(0, path.halves.length - 2 * segments));
    return true;
  });
}

function sameAt(left: Uint32Array, right: Uint32Array, segment: number): boolean {
  const at = 2 * segment;
  return at + 1 < left.length && at + 1 < right.length && left[at] === right[at] && left[at + 1] === right[at + 1];
}

/** Leading segments in common, of which `known` are known to be. */
function sharedSegments(left: Uint32Array, right: Uint32Array, known: number): number {
  let low = known;
  let high = Math.min(left.length, right.length) / 2;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (sameAt(left, right, middle - 1)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Where a predicted segment ends, in tokens: between what is known of the same prompt, by its share of the prompt. */
export function predictedTokensAt(path: LongestPath, known: { segments: number; tokens: number }, ends: readonly number[]): number {
  const { segments, promptTokens, promptBytes, length } = path;
  // The schedule says at which byte a segment ends, unless the chain was cut by another.
  const byBytes = (ends[length - 1] ?? Infinity) <= promptBytes && (ends[length] ?? Infinity) > promptBytes;
  const place = (count: number): number => (count === 0 ? 0 : byBytes ? (ends[count - 1] ?? promptBytes) : count);
  const whole = byBytes ? promptBytes : length + 0.5;
  const from = known.segments <= segments ? known : { segments: 0, tokens: 0 };
  const share = (place(segments) - place(from.segments)) / Math.max(1, whole - place(from.segments));
  return Math.floor(Math.min(promptTokens, from.tokens + share * Math.max(0, promptTokens - from.tokens)));
}
