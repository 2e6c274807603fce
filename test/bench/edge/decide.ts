/**
 * Decisions of the pool object, called over RPC from a Worker of the same workerd, with a million entries in its index. No engine takes the leases up; they are
 * released after each batch of calls, and that is timed for itself.
 */
import { specFingerprint } from "../../../src/prefix/segment.ts";
import { wranglerConfig } from "../../../cli/wrangler-config.ts";
import { type Edge, POOL, restartEdge, startEdge } from "./arms.ts";
import { cpuMs, round, rssMb } from "./cpu.ts";
import { HASH_SPEC } from "./prompts.ts";
import { indexBytes, indexEntries, joinReplicas, type Mock, saltOf, startMock, waitForEntries } from "./setup.ts";

const REPLICAS = 64;
const SEGMENTS = 120;
/** Chains that all replicas hold, the dearest to look up: 64 holders a segment. */
const COMMON_CHAINS = 100;
/** Chains of one replica each: 64 × 32 × 120 with the common ones makes 1,013,760 entries. */
const OWN_CHAINS = 32;
/** Decided before all of them are released: one lease a replica, so that nothing waits in line. */
const BATCH = REPLICAS;
/** In one request to the caller. */
const MOST_CALLS = 5_000;

const CALLER = `let chains = null;
export default {
  async fetch(request, env) {
    if (request.method === "PUT") {
      chains = new BigUint64Array(await request.arrayBuffer());
      return new Response("kept");
    }
    const { calls, inFlight, batch, segments, from, count, base, pool } = await request.json();
    const stub = env.POOL.getByName(pool);
    const outcomes = {};
    let cachedTokens = 0;
    let leases = [];
    const decide = async (i) => {
      const at = (from + (i % count)) * segments;
      const id = "req_bench_" + crypto.randomUUID();
      const answer = await stub.decide({ ...base, id, chain: chains.slice(at, at + segments), waitedMs: 0, failed: [] });
      outcomes[answer.type] = (outcomes[answer.type] ?? 0) + 1;
      if (answer.type !== "replica") return;
      cachedTokens += answer.cachedTokens;
      leases.push([id, answer.attempt]);
    };
    const timed = async (from, to, work) => {
      let next = from;
      const lane = async () => {
        while (next < to) await work(next++);
      };
      const startedMs = performance.now();
      await Promise.all(Array.from({ length: inFlight }, lane));
      return performance.now() - startedMs;
    };
    let decideMs = 0;
    let releaseMs = 0;
    for (let first = 0; first < calls; first += batch) {
      decideMs += await timed(first, Math.min(calls, first + batch), decide);
      releaseMs += await timed(0, leases.length, (i) => stub.release(...leases[i]));
      leases = [];
    }
    return Response.json({ decideMs, releaseMs, outcomes, cachedTokens });
  },
};
`;
const CALLER_CAPNP = `const caller :Workerd.Worker = (
  modules = [(name = "caller.js", esModule = embed "caller.js")],
  compatibilityDate = "${wranglerConfig().compatibilityDate}",
  compatibilityFlags = ["nodejs_compat"],
  bindings = [(name = "POOL", durableObjectNamespace = (className = "PoolObject", serviceName = "edge"))],
);
`;

const withCaller = (capnp: string): string =>
  `${capnp
    .replace(`(name = "edge", worker = .edge),`, `(name = "edge", worker = .edge),\n    (name = "caller", worker = .caller),`)
    .replace(
      `sockets = [(name = "http", http = (), service = "edge")]`,
      `sockets = [(name = "http", http = (), service = "edge"), (name = "caller", http = (), service = "caller")]`,
    )}${CALLER_CAPNP}`;

export interface DecideResult {
  replicas: number;
  segments: number;
  indexEntries: number;
  fillMs: number;
  bytesPerEntry: number;
  rssBytesPerEntry: number;
  runs: Record<string, DecideRun>;
}

interface DecideRun {
  calls: number;
  inFlight: number;
  callsPerS: number;
  meanUs: number;
  releaseUs: number;
  /** Of all of workerd, for a decision and its release. */
  cpuUsPerCall: number;
  outcomes: Record<string, number>;
  meanCachedTokens: number;
}

/** Random-looking and the same in every run. */
function chainOf(number: number): bigint[] {
  // Chains lie further apart than they are long, so no two share a segment.
  let state = BigInt((number + 1) * 1_000) * 0x9e37_79b9_7f4a_7c15n;
  return Array.from({ length: SEGMENTS }, () => {
    state = BigInt.asUintN(64, state + 0x9e37_79b9_7f4a_7c15n);
    let z = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n) || 1n;
  });
}

async function fill(edge: Edge, mock: Mock, chains: readonly (readonly bigint[])[]): Promise<void> {
  for (const [number, chain] of chains.entries()) {
    const replica = number < COMMON_CHAINS ? "all" : (number - COMMON_CHAINS) % REPLICAS;
    await mock.ask({ type: "hold", replica, hashes: chain.map(String) });
  }
  const { entries } = await mock.ask({ type: "state" });
  await waitForEntries(edge, entries);
}

async function call(edge: Edge, chains: Chains, calls: number, inFlight: number): Promise<DecideRun> {
  const base = {
    tenant: "dev",
    salt: saltOf(edge),
    fingerprint: specFingerprint(HASH_SPEC),
    promptBytes: 64 * 1_024,
    bodyBytes: 66_000,
    path: "/v1/chat/completions",
    digest: "",
  };
  const sum = { decideMs: 0, releaseMs: 0, cpu: 0, cached: 0 };
  const outcomes: Record<string, number> = {};
  for (let asked = 0; asked < calls; asked += MOST_CALLS) {
    const before = cpuMs(edge.pid ?? 0);
    const how = { calls: Math.min(MOST_CALLS, calls - asked), inFlight, batch: BATCH, segments: SEGMENTS, ...chains, base, pool: POOL };
    const response = await fetch(`http://127.0.0.1:${edge.ports["caller"]}/`, { method: "POST", body: JSON.stringify(how) });
    const told = (await response.json()) as {
      decideMs: number;
      releaseMs: number;
      outcomes: Record<string, number>;
      cachedTokens: number;
    };
    sum.cpu += cpuMs(edge.pid ?? 0) - before;
    sum.decideMs += told.decideMs;
    sum.releaseMs += told.releaseMs;
    sum.cached += told.cachedTokens;
    for (const [type, times] of Object.entries(told.outcomes)) outcomes[type] = (outcomes[type] ?? 0) + times;
  }
  return {
    calls,
    inFlight,
    callsPerS: round((calls * 1_000) / sum.decideMs, 0),
    meanUs: round((sum.decideMs * 1_000) / calls, 1),
    releaseUs: round((sum.releaseMs * 1_000) / calls, 1),
    cpuUsPerCall: round((sum.cpu * 1_000) / calls, 1),
    outcomes,
    meanCachedTokens: round(sum.cached / calls, 0),
  };
}

/** Which chains are asked for. */
interface Chains {
  from: number;
  count: number;
}

export const HELD_BY_ONE: Chains = { from: COMMON_CHAINS, count: REPLICAS * OWN_CHAINS };
const HELD_BY_ALL: Chains = { from: 0, count: COMMON_CHAINS };

export interface FullPool {
  edge: Edge;
  indexEntries: number;
  fillMs: number;
  bytesPerEntry: number;
  rssBytesPerEntry: number;
  decisions: (chains: Chains, calls: number, inFlight: number) => Promise<DecideRun>;
  end: () => Promise<void>;
}

/** A pool of 64 replicas with a million entries, warmed up. */
export async function startFullPool(how: { inspector?: boolean } = {}): Promise<FullPool> {
  const edge = await restartEdge(await startEdge(), { ...how, edit: withCaller, files: { "caller.js": CALLER }, sockets: ["caller"] });
  const { mock, ports } = await startMock(1);
  const end = async (): Promise<void> => {
    mock.end();
    await edge.end();
  };
  try {
    const pid = edge.pid ?? 0;
    await joinReplicas(edge, mock, ports, REPLICAS);
    const before = rssMb(pid);
    const chains = Array.from({ length: COMMON_CHAINS + REPLICAS * OWN_CHAINS }, (_, number) => chainOf(number));
    await fetch(`http://127.0.0.1:${edge.ports["caller"]}/`, { method: "PUT", body: BigUint64Array.from(chains.flat()) });
    const startedMs = performance.now();
    await fill(edge, mock, chains);
    const fillMs = round(performance.now() - startedMs, 0);
    const entries = await indexEntries(edge);
    const bytesPerEntry = round((await indexBytes(edge)) / entries, 1);
    const rssBytesPerEntry = round(((rssMb(pid) - before) * 1_048_576) / entries, 1);
    process.stdout.write(
      `decide: ${entries} entries in ${fillMs} ms, ${bytesPerEntry} bytes each (RSS grew by ${rssBytesPerEntry} each)\n`,
    );
    await call(edge, HELD_BY_ONE, 1_000, 64);
    const decisions: FullPool["decisions"] = (asked, calls, inFlight) => call(edge, asked, calls, inFlight);
    return { edge, indexEntries: entries, fillMs, bytesPerEntry, rssBytesPerEntry, decisions, end };
  } catch (error) {
    await end();
    throw error;
  }
}

export async function decideBench(quick: boolean): Promise<DecideResult> {
  const { indexEntries: entries, fillMs, bytesPerEntry, rssBytesPerEntry, decisions, end } = await startFullPool();
  const times = quick ? 1 : 2;
  const wanted: Record<string, [Chains, calls: number, inFlight: number]> = {
    "held by one": [HELD_BY_ONE, 5_000 * times, 64],
    "held by all 64": [HELD_BY_ALL, 5_000 * times, 64],
    "held by all 64, one at a time": [HELD_BY_ALL, 2_000, 1],
  };
  try {
    const runs: Record<string, DecideRun> = {};
    for (const [name, want] of Object.entries(wanted)) {
      const run = await decisions(...want);
      runs[name] = run;
      process.stdout.write(
        `decide: ${name}, ${run.inFlight} in flight: ${run.callsPerS}/s, mean ${run.meanUs} us (release ${run.releaseUs} us), ${run.cpuUsPerCall} cpu-us for both, ${JSON.stringify(run.outcomes)}\n`,
      );
    }
    return { replicas: REPLICAS, segments: SEGMENTS, indexEntries: entries, fillMs, bytesPerEntry, rssBytesPerEntry, runs };
  } finally {
    await end();
  }
}
