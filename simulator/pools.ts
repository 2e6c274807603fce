/**
 * Many pool objects of one model in one region under more requests than one object can decide: who is asked for which prompt, and what that costs.
 * Fluid queues in virtual time: an object decides so many requests a second, its replicas compute so many tokens a second, a pool's cache forgets what
 * was not used longest. Edges see what real ones do: cards a second old with sketches, and round trips measured now and then.
 */
import { BoundedMap } from "../src/bounded-map.ts";
import { DEFAULT_SCHEDULE } from "../src/prefix/segment.ts";
import { buildSketch, Sketch } from "../src/residency/sketch.ts";
import { choosePool, type PoolSight } from "../src/edge/rank-pools.ts";
import { percentile } from "../src/explain/percentile.ts";
import { headOf, rendezvous } from "../src/edge/rendezvous.ts";

export interface PoolsWorld {
  pools: number;
  edges: number;
  requestsPerSecond: number;
  seconds: number;
  /** Not counted: caches fill while the load rises to its full height, which it has for the last quarter. */
  warmUpSeconds: number;
  /** One object; the platform's soft limit is 1,000. */
  decisionsPerSecond: number;
  replicasPerPool: number;
  prefillMsPerToken: number;
  /** Segments that a pool's caches hold together. */
  cacheSegments: number;
  /** System prompts, asked for by Zipf's law with exponent 1: the first has 12 % of 2,000. */
  heads: number;
  /** Share of requests that go on with a conversation. */
  goesOn: number;
  rttMs: number;
}

export type PoolPolicy = "one object" | "any pool" | "home of the head" | "choosePool";

export interface PoolsResult {
  policy: PoolPolicy;
  pools: number;
  meanTtftMs: number;
  p99TtftMs: number;
  /** In line for the object's decision. */
  p99DecisionMs: number;
  /** Prompt tokens found cached, of those that were ever computed anywhere. */
  foundShare: number;
  /** Requests of the busiest pool over the mean. */
  busiest: number;
}

const SEGMENT_BYTES = 256;
const BYTES_PER_TOKEN = 4;
const SEGMENT_TOKENS = SEGMENT_BYTES / BYTES_PER_TOKEN;
const HEAD_SEGMENTS = 8;
const FIRST_SEGMENTS = 6;
const TURN_SEGMENTS = 2;
const MOST_SEGMENTS = 48;
const RECENT = 60_000;
const CARD_MS = 1_000;
const RTT_MS = 5_000;
const SPEC = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" } as const;
const ENDS = Uint32Array.from({ length: MOST_SEGMENTS }, (_, depth) => (depth + 1) * SEGMENT_BYTES);

interface Conversation {
  hashes: BigUint64Array;
  segments: number;
  /** Of the last turn: what lies before was computed by then. */
  computed: number;
}

interface Pool {
  name: string;
  /** When the object and the replicas will have done what they have, ms of virtual time. */
  decidedAtMs: number;
  prefilledAtMs: number;
  /** Segment → nothing; oldest use first. */
  cache: BoundedMap<bigint, true>;
  requests: number;
  sketch: Sketch | null;
  queueMs: number;
  decidedThisSecond: number;
  decisionsPerSecond: number;
  cardAtMs: number;
}

/** What one edge knows by itself. */
interface Edge {
  bookedMs: Float64Array;
  bookedSinceMs: Float64Array;
  rttMs: Float64Array;
  measuredAtMs: number;
}

class World {
  readonly pools: Pool[];
  readonly #edges: Edge[];
  readonly #heads: BigUint64Array[];
  readonly #shares: Float64Array;
  readonly #recent: Conversation[] = [];
  readonly #options: PoolsWorld;
  readonly #draw: () => number;
  #hash = 0x9e3779b97f4a7c15n;

  constructor(options: PoolsWorld, draw: () => number) {
    this.#options = options;
    this.#draw = draw;
    this.pools = Array.from({ length: options.pools }, (_, index): Pool => ({
      name: `pool-${index}`,
      decidedAtMs: 0,
      prefilledAtMs: 0,
      cache: new BoundedMap(options.cacheSegments),
      requests: 0,
      sketch: null,
      queueMs: 0,
      decidedThisSecond: 0,
      decisionsPerSecond: 0,
      // Pools make their cards at different times.
      cardAtMs: (index / options.pools) * CARD_MS - CARD_MS,
    }));
    this.#edges = Array.from({ length: options.edges }, (): Edge => ({
      bookedMs: new Float64Array(options.pools),
      bookedSinceMs: new Float64Array(options.pools),
      rttMs: new Float64Array(options.pools).fill(options.rttMs),
      measuredAtMs: 0,
    }));
    this.#heads = Array.from({ length: options.heads }, () => BigUint64Array.from({ length: HEAD_SEGMENTS }, () => this.#fresh()));
    let sum = 0;
    this.#shares = Float64Array.from(this.#heads, (_, rank) => (sum += 1 / (rank + 1)));
  }

  /** A new segment hash: splitmix64. */
  #fresh(): bigint {
    this.#hash = BigInt.asUintN(64, this.#hash + 0x9e3779b97f4a7c15n);
    let mixed = BigInt.asUintN(64, (this.#hash ^ (this.#hash >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    return (mixed ^ (mixed >> 31n)) | 1n;
  }

  next(): Conversation {
    const old = this.#draw() < this.#options.goesOn ? this.#recent[Math.floor(this.#draw() * this.#recent.length)] : undefined;
    if (old !== undefined && old.segments + TURN_SEGMENTS <= MOST_SEGMENTS) {
      old.computed = old.segments;
      this.#grow(old, TURN_SEGMENTS);
      return old;
    }
    const wanted = this.#draw() * (this.#shares.at(-1) ?? 0);
    const head = this.#heads[this.#shares.findIndex((share) => share >= wanted)] ?? new BigUint64Array();
    const hashes = new BigUint64Array(MOST_SEGMENTS);
    hashes.set(head);
    const made: Conversation = { hashes, segments: head.length, computed: head.length };
    this.#grow(made, FIRST_SEGMENTS);
    if (this.#recent.length < RECENT) this.#recent.push(made);
    else this.#recent[Math.floor(this.#draw() * RECENT)] = made;
    return made;
  }

  #grow(conversation: Conversation, segments: number): void {
    for (let more = 0; more < segments; more++) conversation.hashes[conversation.segments++] = this.#fresh();
  }

  choose(policy: PoolPolicy, edge: Edge, { hashes, segments }: Conversation, nowMs: number): number {
    if (policy === "one object") return 0;
    if (policy === "any pool") return Math.floor(this.#draw() * this.pools.length);
    const chain = { hashes: hashes.subarray(0, segments), ends: ENDS.subarray(0, segments) };
    if (policy === "home of the head") {
      const [home] = rendezvous(
        headOf(chain.hashes, chain.ends),
        this.pools.map(({ name }) => ({ name, weight: 1 })),
      );
      return this.pools.findIndex(({ name }) => name === home);
    }
    const { order } = choosePool(
      this.pools.map((pool, index) => this.#sight(pool, index, edge, chain, nowMs)),
      // As the edges have it, by what only this conversation begins with.
      { promptBytes: segments * SEGMENT_BYTES, draw: Number((hashes[HEAD_SEGMENTS] ?? 0n) >> 11n) / 2 ** 53 },
    );
    const chosen = this.pools.findIndex(({ name }) => name === order[0]?.pool);
    edge.bookedMs[chosen] = (edge.bookedMs[chosen] ?? 0) + (order[0]?.prefillMs ?? 0);
    return chosen;
  }

  #sight(pool: Pool, index: number, edge: Edge, chain: PoolSight["chain"], nowMs: number): PoolSight {
    const { replicasPerPool: replicas, prefillMsPerToken } = this.#options;
    if (pool.cardAtMs > (edge.bookedSinceMs[index] ?? 0)) {
      edge.bookedMs[index] = 0;
      edge.bookedSinceMs[index] = pool.cardAtMs;
    }
    const { queueMs, decisionsPerSecond } = pool;
    const load = { queueMs, decisionsPerSecond, inFlight: 0, waiting: 0, fullShare: 0, prefillMsPerToken, bytesPerToken: BYTES_PER_TOKEN };
    const card = { pool: pool.name, model: "chat", createdAtSeconds: 0, hashSpec: SPEC, replicas, load };
    const rttMs = edge.rttMs[index] ?? 0;
    return {
      card,
      region: "eu",
      ageMs: nowMs - pool.cardAtMs,
      rttMs,
      sketch: pool.sketch,
      chain,
      bookedMs: edge.bookedMs[index] ?? 0,
    };
  }

  /** The request is decided, then prefilled; its time to the first token, that in line for the decision, and the segments found. */
  serve(pool: Pool, { hashes, segments }: Conversation, nowMs: number): { ttftMs: number; decisionMs: number; found: number } {
    const { decisionsPerSecond, prefillMsPerToken, replicasPerPool, rttMs } = this.#options;
    pool.requests++;
    pool.decidedThisSecond++;
    const decisionMs = Math.max(0, pool.decidedAtMs - nowMs) + 1_000 / decisionsPerSecond;
    pool.decidedAtMs = nowMs + decisionMs;
    let found = 0;
    while (found < segments && pool.cache.has(hashes[found] ?? 0n)) found++;
    for (let depth = 0; depth < segments; depth++) {
      pool.cache.set(hashes[depth] ?? 0n, true);
    }
    const ownMs = (segments - found) * SEGMENT_TOKENS * prefillMsPerToken;
    const readyMs = pool.decidedAtMs;
    const queueMs = Math.max(0, pool.prefilledAtMs - readyMs);
    pool.prefilledAtMs = Math.max(pool.prefilledAtMs, readyMs) + ownMs / replicasPerPool;
    return { ttftMs: rttMs + decisionMs + queueMs + ownMs, decisionMs, found };
  }

  /** Cards of the pools whose second is over. */
  tell(nowMs: number): void {
    for (const pool of this.pools) {
      if (nowMs - pool.cardAtMs < CARD_MS) continue;
      pool.cardAtMs += CARD_MS;
      pool.decisionsPerSecond = pool.decidedThisSecond;
      pool.decidedThisSecond = 0;
      pool.queueMs = Math.max(0, pool.prefilledAtMs - nowMs);
      const halves = new Int32Array(BigUint64Array.from(pool.cache.keys()).buffer);
      const bytes = buildSketch({
        scanHashes(visit) {
          for (let at = 0; at < halves.length; at += 2) visit(halves[at + 1] ?? 0, halves[at] ?? 0);
        },
      });
      pool.sketch = Sketch.parse(bytes);
    }
  }

  /** The edge of this request, with its round trips as it last measured them: an object with a line answers late. */
  edgeOf(number: number, nowMs: number): Edge {
    const edge = this.#edges[number % this.#edges.length];
    if (edge === undefined) throw new RangeError("there is no edge");
    if (nowMs - edge.measuredAtMs >= RTT_MS) {
      edge.measuredAtMs = nowMs;
      for (const [index, pool] of this.pools.entries()) edge.rttMs[index] = this.#options.rttMs + Math.max(0, pool.decidedAtMs - nowMs);
    }
    return edge;
  }
}

/** `draw`: numbers in [0, 1); the same ones give the same result. */
export function simulatePools(options: PoolsWorld, policy: PoolPolicy, draw: () => number): PoolsResult {
  const world = new World(options, draw);
  const ttfts: number[] = [];
  const decisions: number[] = [];
  let [found, known, nowMs] = [0, 0, 0];
  for (let number = 0; nowMs < options.seconds * 1_000; number++) {
    // Poisson arrivals.
    const height = Math.min(1, Math.max(0.02, nowMs / (options.warmUpSeconds * 750)));
    nowMs += (-Math.log(1 - draw()) * 1_000) / (options.requestsPerSecond * height);
    if (policy === "choosePool") world.tell(nowMs);
    const conversation = world.next();
    const pool = world.pools[world.choose(policy, world.edgeOf(number, nowMs), conversation, nowMs)];
    if (pool === undefined) throw new RangeError("no pool was chosen");
    const served = world.serve(pool, conversation, nowMs);
    if (nowMs < options.warmUpSeconds * 1_000) {
      pool.requests = 0;
      continue;
    }
    ttfts.push(served.ttftMs);
    decisions.push(served.decisionMs);
    found += Math.min(served.found, conversation.computed);
    known += conversation.computed;
  }
  const requests = world.pools.map((pool) => pool.requests);
  const mean = ttfts.length / world.pools.length;
  return {
    policy,
    pools: options.pools,
    meanTtftMs: round(ttfts.reduce((sum, ms) => sum + ms, 0) / ttfts.length),
    p99TtftMs: round(percentile(sorted(ttfts), 0.99)),
    p99DecisionMs: round(percentile(sorted(decisions), 0.99)),
    foundShare: Number((found / known).toFixed(3)),
    busiest: Number((Math.max(...requests) / mean).toFixed(2)),
  };
}

const sorted = (values: number[]): Float64Array => Float64Array.from(values).sort();

const round = (ms: number): number => Number(ms.toFixed(1));
