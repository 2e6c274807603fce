import type { PlannedRequest, SegmentTree } from "./plan.ts";
import { pairsOf } from "./step-time.ts";

/** A request as its router booked it. */
export interface Booking {
  replica: number;
  request: PlannedRequest;
  uncachedTokens: number;
  pairs: number;
  hasFirstToken: boolean;
}

/** What one router has in flight on one replica. */
class BookedLoad {
  running = 0;
  waiting = 0;
  prefillTokens = 0;
  prefillPairs = 0;
  decodeTokens = 0;
  /** Distinct tokens of all in flight. */
  liveTokens = 0;
  /** Of these, what belongs to no segment. */
  looseTokens = 0;
  readonly #users: Uint16Array;

  constructor(segments: number) {
    this.#users = new Uint16Array(segments);
  }

  isLive(segment: number): boolean {
    return (this.#users[segment] ?? 0) > 0;
  }

  /** `by` 1 or -1. */
  use({ path, promptSegments, promptTokens }: PlannedRequest, { starts, ends }: SegmentTree, by: 1 | -1): void {
    const edge = by === 1 ? 0 : 1;
    for (let at = 0; at < promptSegments; at++) {
      const segment = path[at] ?? 0;
      const users = this.#users[segment] ?? 0;
      if (users === edge) this.liveTokens += by * ((ends[segment] ?? 0) - (starts[segment] ?? 0));
      this.#users[segment] = users + by;
    }
    const last = promptSegments === 0 ? 0 : (ends[path[promptSegments - 1] ?? 0] ?? 0);
    this.liveTokens += by * (promptTokens - last);
    this.looseTokens += by * (promptTokens - last);
  }
}

/** One router's bookings: what it sent where and has not seen the end of. */
export class RouterBookings {
  readonly #tree: SegmentTree;
  readonly #loads = new Map<number, BookedLoad>();

  constructor(tree: SegmentTree) {
    this.#tree = tree;
  }

  /** A replica is here; if it was before, what was booked on it ended. */
  open(replica: number): void {
    if (!this.#loads.has(replica)) this.#loads.set(replica, new BookedLoad(this.#tree.hashes.length));
  }

  load(replica: number): BookedLoad {
    const load = this.#loads.get(replica);
    if (load === undefined) throw new RangeError(`replica ${replica} never joined`);
    return load;
  }

  book(replica: number, request: PlannedRequest, cachedTokens: number): Booking {
    const uncachedTokens = request.promptTokens - cachedTokens;
    const booking = { replica, request, uncachedTokens, pairs: pairsOf(uncachedTokens, cachedTokens), hasFirstToken: false };
    const load = this.load(replica);
    load.waiting++;
    load.prefillTokens += uncachedTokens;
    load.prefillPairs += booking.pairs;
    load.use(request, this.#tree, 1);
    return booking;
  }

  firstToken(booking: Booking): void {
    if (booking.hasFirstToken) return;
    const load = this.load(booking.replica);
    booking.hasFirstToken = true;
    load.waiting--;
    load.running++;
    load.prefillTokens -= booking.uncachedTokens;
    load.prefillPairs -= booking.pairs;
    load.decodeTokens += booking.request.promptTokens;
  }

  end(booking: Booking): void {
    this.firstToken(booking);
    const load = this.load(booking.replica);
    load.running--;
    load.decodeTokens -= booking.request.promptTokens;
    load.use(booking.request, this.#tree, -1);
  }
}
