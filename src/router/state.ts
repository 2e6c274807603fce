/** Everything one pool knows, and the card it shows. The dispatcher decides over it, the announce intake keeps it true. */
import { Breaker, type LeftOut } from "../pool/breaker.ts";
import { LeaseBook } from "../pool/lease-book.ts";
import { emptyMembership, takesRequests, type MembershipState } from "../pool/membership.ts";
import { WaitingLine } from "../pool/waiting-line.ts";
import type { Replica } from "../pool/replica.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../prefix/segment.ts";
import type { SegmentIndex } from "../residency/segment-index.ts";
import { createSegmentIndex } from "../residency/typed-array-index.ts";
import { ExplainRing } from "../explain/ring.ts";
import { Funnels } from "../explain/funnel.ts";
import { count, noneYet } from "./counters.ts";
import { keep } from "./decision-log.ts";
import { PoolEvents } from "./events.ts";
import { PaceMeter, type PoolCard, poolLoad, promptLimitOf, SketchKeeper } from "./card.ts";
import { RateBook } from "../rates/rate-book.ts";
import { PredictedPaths } from "../pool/predicted-paths.ts";
import { SEEN_PARTS, EverSeen } from "../residency/ever-seen.ts";
import { LastReplicas } from "../pool/sessions.ts";
import { ResidencyClaims } from "../pool/residency-claim.ts";
import { TierFills } from "../pool/tier-fill.ts";

export type { PoolCard } from "./card.ts";

/** Unless the deployment says otherwise. */
export const DEFAULT_REMOTE_PREFILL_TOKENS = 512;

export class PoolState {
  membership: MembershipState = emptyMembership();
  /** The spec behind the membership's fingerprint; null before the first hello. */
  hashSpec: HashSpec | null = null;
  createdAtSeconds = 0;
  /** The last replica asked to be drained, and has gone: nothing says that another one comes. */
  isDrained = false;
  readonly index: SegmentIndex;
  readonly #sketch: SketchKeeper;
  readonly #pace = new PaceMeter();
  readonly leases = new LeaseBook();
  readonly breaker = new Breaker();
  /** Replicas that were left out and have not been told; the shell takes them. At most a few a request. */
  leftOutNews: LeftOut[] = [];
  readonly line = new WaitingLine();
  readonly rates = new RateBook();
  readonly paths = new PredictedPaths();
  readonly sessions = new LastReplicas();
  readonly fills = new TierFills();
  readonly claims = new ResidencyClaims();
  readonly ring = new ExplainRing();
  readonly seen = new EverSeen(createSegmentIndex({ maxParts: SEEN_PARTS }));
  readonly funnels = new Funnels();
  readonly events = new PoolEvents();
  readonly counters = noneYet();
  /** A request is prefilled elsewhere from so many uncached tokens on; null: never. */
  readonly remotePrefillTokens: number | null;

  constructor(index: SegmentIndex, remotePrefillTokens: number | null = DEFAULT_REMOTE_PREFILL_TOKENS) {
    this.index = index;
    this.#sketch = new SketchKeeper(index);
    this.remotePrefillTokens = remotePrefillTokens;
    this.events.subscribe((event) => count(this.counters, event));
    this.events.subscribe((event) => keep(this.ring, this.funnels, event));
  }

  /** `knownSketch`: the version of the sketch that the asker has, 0 for none; left out, it wants none. */
  card(pool: string, knownSketch?: number, nowMs = 0): PoolCard {
    const { membership, hashSpec, createdAtSeconds } = this;
    const promptLimit = promptLimitOf(membership);
    return {
      pool,
      model: membership.model,
      createdAtSeconds,
      hashSpec: hashSpec ?? { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" },
      replicas: membership.replicas.filter(takesRequests).length,
      ...(Number.isFinite(this.longestContextTokens) ? { contextTokens: this.longestContextTokens } : {}),
      ...(promptLimit === null ? {} : { promptLimit }),
      load: poolLoad(this, this.#pace.perSecond(this.counters.decisions, nowMs)),
      ...(knownSketch === undefined ? {} : this.#sketch.sendUnlessKnown(knownSketch, nowMs)),
    };
  }

  /** Of all replicas; Infinity while none is here. */
  get longestContextTokens(): number {
    let longest = 0;
    for (const { capacity } of this.membership.replicas) longest = Math.max(longest, capacity.contextTokens);
    return longest > 0 ? longest : Infinity;
  }

  replica(slot: number): Replica | undefined {
    return this.membership.replicas.find((replica) => replica.slot === slot);
  }

  named(name: string): Replica | undefined {
    return this.membership.replicas.find((replica) => replica.name === name);
  }
}
