/**
 * What is asked of a fleet: requests, their prompts as paths in a tree of segments, and when each is asked. The same plan is given to every policy.
 *
 * Example: two requests that share a system prompt of 512 tokens.
 *
 *   segment 0: parent -1, ends at 512     segment 1: parent 0, ends at 700     segment 2: parent 0, ends at 640
 *   request 0: path [0, 1]                request 1: path [0, 2]
 */

/** Segments by number; parents come before their children. */
export interface SegmentTree {
  /** Prefix-cumulative: equal only for equal prompts up to there. Never 0. */
  hashes: BigUint64Array;
  /** -1 at the front. */
  parents: Int32Array;
  /** Token positions, from the prompt's start. */
  starts: Uint32Array;
  ends: Uint32Array;
}

export interface PlannedRequest {
  /** Its place in the plan. */
  id: number;
  session: string | null;
  /** Null: it follows others. In the plan's own time; `paced` turns it into ms. */
  at: number | null;
  /** Requests that must have ended before, by id; empty when `at` is given. */
  after: readonly number[];
  /** From the last of these to its arrival, ms of real time: thinking or tools. */
  gapMs: number;
  promptTokens: number;
  /** Nobody but the engine knows it. */
  outputTokens: number;
  /** Segments of its prompt, front first, and behind them those of its answer where a later request will have them. */
  path: Int32Array;
  promptSegments: number;
  /** Hashes of the prompt's segments. */
  chain: BigUint64Array;
}

export interface Plan {
  name: string;
  tree: SegmentTree;
  requests: readonly PlannedRequest[];
}

/** Puts segments into a tree while a workload or a trace is read. */
export class TreeBuilder {
  readonly #hashes: bigint[] = [];
  readonly #parents: number[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  get size(): number {
    return this.#hashes.length;
  }

  /** Number of the new segment. `parent` -1: it is a prompt's first. */
  add(parent: number, hash: bigint, tokens: number): number {
    const start = parent < 0 ? 0 : this.endOf(parent);
    this.#hashes.push(hash);
    this.#parents.push(parent);
    this.#starts.push(start);
    this.#ends.push(start + tokens);
    return this.#hashes.length - 1;
  }

  endOf(segment: number): number {
    return this.#ends[segment] ?? 0;
  }

  hashOf(segment: number): bigint {
    return this.#hashes[segment] ?? 0n;
  }

  build(): SegmentTree {
    return {
      hashes: BigUint64Array.from(this.#hashes),
      parents: Int32Array.from(this.#parents),
      starts: Uint32Array.from(this.#starts),
      ends: Uint32Array.from(this.#ends),
    };
  }
}

/** The plan asked at a rate: arrivals stretched or pressed so that, over the time in which requests or sessions begin, so many requests a second are asked. */
export function paced(plan: Plan, requestsPerSecond: number): Plan {
  let last = 0;
  let roots = 0;
  for (const { at } of plan.requests) {
    if (at === null) continue;
    last = Math.max(last, at);
    roots++;
  }
  const spanMs = (plan.requests.length * 1_000) / requestsPerSecond;
  const factor = last > 0 ? spanMs / last : 0;
  return { ...plan, requests: plan.requests.map((request) => (request.at === null ? request : { ...request, at: request.at * factor })) };
}

/** Share of all prompt tokens that a cache without bounds would have had, were the requests computed one after the other in the plan's order; whole blocks. */
export function reuseCeiling(plan: Plan, blockTokens: number, reuseGenerated: boolean): number {
  const known = new Uint8Array(plan.tree.hashes.length);
  let cached = 0;
  let total = 0;
  for (const { path, promptSegments, promptTokens } of plan.requests) {
    let held = 0;
    while (held < promptSegments && known[path[held] ?? 0] === 1) held++;
    const end = held === 0 ? 0 : (plan.tree.ends[path[held - 1] ?? 0] ?? 0);
    cached += reusableTokens(end, promptTokens, blockTokens);
    total += promptTokens;
    const kept = reuseGenerated ? path.length : promptSegments;
    for (let at = 0; at < kept; at++) known[path[at] ?? 0] = 1;
  }
  return total === 0 ? 0 : cached / total;
}

/** Of `heldTokens` leading ones: whole blocks, and at least one token is always computed. */
export function reusableTokens(heldTokens: number, promptTokens: number, blockTokens: number): number {
  const most = Math.min(heldTokens, promptTokens - 1);
  return most <= 0 ? 0 : Math.floor(most / blockTokens) * blockTokens;
}
