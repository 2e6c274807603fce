/** What the pool tests share: a pool seen from the edge, its clock in the test's hand, and a truth to compare its rows with. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, vi } from "vitest";
import { DEFAULT_SCHEDULE, specFingerprint } from "../../src/prefix/segment.ts";
import type { MetricFamily } from "../../src/prometheus.ts";
import { IndexCheckpoint } from "../../src/residency/checkpoint.ts";
import { createStorableIndex } from "../../src/residency/typed-array-index.ts";
import type { Ask, DecideAnswer } from "../../src/router/dispatcher.ts";
import { CheckpointStore } from "../../workers/objects/checkpoint-store.ts";
import type { MockReplica } from "./mock-replica.ts";

export const fingerprint = specFingerprint({ version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" });

/** Polls of `until` and no more; each is a call into the object, so what was sent before is under way. */
const MOST_POLLS = 2_000;

/** Of the test that runs. */
let pools: TestPool[] = [];

/** The objects run in the tests' isolate: the clock that vitest fakes is theirs too. No test may leave a lease behind. */
export function useClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  });
  afterEach(async () => {
    for (const pool of pools) expect(await pool.metric("leases"), `leases of ${pool.name}`).toBe(0);
    pools = [];
    vi.clearAllTimers();
    vi.useRealTimers();
  });
}

export class TestPool {
  readonly name: string;
  readonly stub: typeof env.POOL extends DurableObjectNamespace<infer T> ? DurableObjectStub<T> : never;

  constructor(name: string) {
    this.name = name;
    this.stub = env.POOL.getByName(name);
    pools.push(this);
  }

  decide(id: string, chain: BigUint64Array = new BigUint64Array(), more: Partial<Ask> = {}): Promise<DecideAnswer> {
    const sizes = { promptBytes: Math.max(256, chain.length * 256), bodyBytes: 300, path: "/v1/chat/completions", digest: "digest" };
    const request = { id, tenant: "acme", salt: "salt", fingerprint, chain, ...sizes, waitedMs: 0, ...more };
    return this.stub.decide(request) as Promise<DecideAnswer>;
  }

  /** A decision that must name a replica. */
  async place(id: string, chain?: BigUint64Array, more?: Partial<Ask>): Promise<Extract<DecideAnswer, { type: "replica" }>> {
    const answer = await this.decide(id, chain, more);
    if (answer.type !== "replica") throw new Error(`no replica: ${JSON.stringify(answer)}`);
    return answer;
  }

  async metric(name: string): Promise<number> {
    const families = (await this.stub.metrics()) as MetricFamily[];
    const sample = families.find((family) => family.name === `warmpath_${name}`)?.samples[0];
    if (sample === undefined) throw new Error(`no metric ${name}`);
    return sample.value;
  }

  async until(name: string, wanted: number): Promise<void> {
    let seen = NaN;
    for (let poll = 0; poll < MOST_POLLS; poll++) {
      seen = await this.metric(name);
      if (seen === wanted) return;
    }
    throw new Error(`${name} stays ${seen}, wanted ${wanted}`);
  }

  /** Lets the object's timers run for so long, inside the object. */
  async pass(ms: number): Promise<void> {
    await runInDurableObject(this.stub, () => {
      vi.advanceTimersByTime(ms);
    });
  }

  /** Time passes and the replicas are heard of every second. */
  async passAlive(ms: number, replicas: readonly MockReplica[]): Promise<void> {
    for (let passed = 0; passed < ms; passed += 500) {
      for (const replica of replicas) replica.heartbeat();
      await this.metric("leases");
      await this.pass(Math.min(500, ms - passed));
    }
  }

  /** Memory is lost, sockets stay. */
  async evict(): Promise<void> {
    vi.clearAllTimers();
    await evictDurableObject(this.stub, { webSockets: "hibernate" });
  }

  /** What the last checkpoint has of a replica. */
  async stored(slot: number): Promise<{ seq: number; entries: Map<bigint, { tokens: number; tierBits: number }> } | null> {
    const loaded = await runInDurableObject(this.stub, (_object, state) => {
      const checkpoint = new CheckpointStore(state.storage).load();
      return checkpoint === null ? null : { ...checkpoint, pages: [...checkpoint.pages] };
    });
    if (loaded === null) return null;
    const index = createStorableIndex({});
    if (!new IndexCheckpoint(index).load(loaded.position, loaded.pages, loaded.journal))
      throw new Error("the checkpoint does not fit together");
    const seq = loaded.saved.membership.replicas.find((replica) => replica.slot === slot)?.seq;
    if (seq === undefined) return null;
    return { seq, entries: new Map([...index.entries(slot)].map(({ hash, tokens, tierBits }) => [hash, { tokens, tierBits }])) };
  }
}

/** A chain of its own for each seed. */
export function chainOf(seed: number, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, (_, depth) => BigInt(seed) * 1_000_003n + BigInt(depth) * 0x9e3779b97f4a7c15n + 1n);
}

/** Mulberry32: numbers in [0, 1), the same for the same seed. */
export function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
