/** Replicas and requests as a baseline sees them. */
import fc from "fast-check";
import type { ReplicaSight, RoutedRequest } from "../../../../simulator/policy.ts";

/** An idle, empty replica; a tier holds at least what the faster one holds, unless told otherwise. */
export function sight(replica: number, given: Partial<ReplicaSight> = {}): ReplicaSight {
  const deviceTokens = given.deviceTokens ?? 0;
  const hostTokens = given.hostTokens ?? deviceTokens;
  return {
    replica,
    name: `replica-${replica}`,
    liveOverlapTokens: 0,
    runningRequests: 0,
    waitingRequests: 0,
    activePrefillTokens: 0,
    activePrefillPairs: 0,
    activeDecodeTokens: 0,
    kvUsedTokens: 0,
    liveKvTokens: 0,
    treeTokens: 0,
    stepMs: 5,
    prefillMsPerToken: 0.05,
    attentionMsPerPair: 0,
    decodeMsPerSequence: 0,
    decodeMsPerContextToken: 0,
    hostLoadMsPerToken: Infinity,
    diskLoadMsPerToken: Infinity,
    stepTokens: 8_192,
    kvTokens: 100_000,
    maxSequences: 256,
    blockTokens: 16,
    ...given,
    deviceTokens,
    hostTokens,
    diskTokens: given.diskTokens ?? hostTokens,
  };
}

/** With so many in flight, all of them decoding. */
export function loaded(replica: number, runningRequests: number, given: Partial<ReplicaSight> = {}): ReplicaSight {
  return sight(replica, { runningRequests, ...given });
}

export function ask(promptTokens: number, given: Partial<RoutedRequest> = {}): RoutedRequest {
  return { id: 1, arrivedAtMs: 0, promptTokens, chain: new BigUint64Array(), session: null, ...given };
}

/** The draws given, one after the other; then it throws: a rule that draws more than it should is seen. */
export function draws(...values: number[]): () => number {
  let next = 0;
  return () => {
    const value = values[next];
    next += 1;
    if (value === undefined) throw new Error(`draw ${next} was not expected`);
    return value;
  };
}

export const noDraw = draws();

const tokens = (most: number): fc.Arbitrary<number> => fc.nat({ max: most });

/** Any replica that the simulator could show. */
export const anySight: fc.Arbitrary<Omit<ReplicaSight, "replica" | "name">> = fc
  .record({
    overlaps: fc.tuple(tokens(20_000), tokens(20_000), tokens(20_000)),
    kv: fc.tuple(tokens(100_000), tokens(100_000)),
    live: tokens(20_000),
    runningRequests: fc.nat({ max: 300 }),
    waitingRequests: fc.nat({ max: 300 }),
    activePrefillTokens: tokens(1_000_000),
    activePrefillPairs: tokens(1_000_000_000),
    activeDecodeTokens: tokens(1_000_000),
    treeTokens: tokens(1_000_000),
    hostLoadMsPerToken: fc.constantFrom(0.005, Infinity),
    diskLoadMsPerToken: fc.constantFrom(0.05, Infinity),
    blockTokens: fc.constantFrom(1, 16, 512),
  })
  .map(({ overlaps, kv, live, ...rest }) => {
    const [deviceTokens, hostTokens, diskTokens] = overlaps.toSorted((a, b) => a - b);
    const [liveKvTokens, kvUsedTokens] = kv.toSorted((a, b) => a - b);
    const { replica: _replica, name: _name, ...base } = sight(0, { deviceTokens: deviceTokens ?? 0 });
    return {
      ...base,
      ...rest,
      hostTokens: hostTokens ?? 0,
      diskTokens: diskTokens ?? 0,
      liveKvTokens: liveKvTokens ?? 0,
      kvUsedTokens: kvUsedTokens ?? 0,
      liveOverlapTokens: Math.min(live, liveKvTokens ?? 0),
      attentionMsPerPair: 1e-6,
      decodeMsPerSequence: 0.02,
      decodeMsPerContextToken: 5e-5,
    };
  });

export const anySights: fc.Arbitrary<ReplicaSight[]> = fc
  .array(anySight, { minLength: 1, maxLength: 9 })
  .map((sights) => sights.map((each, replica) => ({ ...each, replica: replica * 3, name: `replica-${replica}` })));

export const anyRequest: fc.Arbitrary<RoutedRequest> = fc.record({
  id: fc.nat(),
  arrivedAtMs: fc.nat(),
  promptTokens: fc.integer({ min: 1, max: 30_000 }),
  chain: fc.array(fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), { maxLength: 4 }).map((hashes) => BigUint64Array.from(hashes)),
  session: fc.option(fc.constantFrom("anna", "ben", "cleo"), { nil: null }),
});
