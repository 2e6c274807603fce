/**
 * What a pool's checkpoint costs while it runs: in bare workerd, with 64 replicas and 1.6 million entries, requests that each bring new segments and push
 * as many out. Calls into the pool object are timed meanwhile, and again without changes, as the machine may be busy.
 * Writes test/bench/results/checkpoint.json. `npm run bench:checkpoint -- [ENTRIES]`
 */
import { endArms, startEdge } from "./edge/arms.ts";
import { round } from "./edge/cpu.ts";
import { endChildren } from "./edge/child.ts";
import { joinReplicas, metric, type Mock, sleep, startMock, waitForEntries } from "./edge/setup.ts";
import { writeResult } from "./result.ts";

const ENTRIES = Number(process.argv[2] ?? 1_600_000);
const REPLICAS = 64;
const REQUESTS_PER_S = 100;
/** A request's new segments: a prompt of some 25 KB at the default schedule. */
const SEGMENTS = 30;
const SECONDS = 60;
const CALL_EVERY_MS = 10;
/** Of one message to the mock replicas. */
const AT_ONCE = 5_000;

interface Row {
  part: "without changes" | "with changes";
  calls: number;
  p50Ms: number;
  p99Ms: number;
  longestMs: number;
  checkpointMbPerS: number;
  rowsPerRequest: number;
}

let state = 0n;
/** Splitmix64: the same in every run. */
function hash(): string {
  state = BigInt.asUintN(64, state + 0x9e37_79b9_7f4a_7c15n);
  let z = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
  return String(z ^ (z >> 31n) || 1n);
}

const some = (count: number): string[] => Array.from({ length: count }, hash);
const byReplica: string[][] = Array.from({ length: REPLICAS }, () => []);

/** A replica's oldest segments go as new ones come. */
async function exchange(mock: Mock, replica: number): Promise<void> {
  const held = byReplica[replica] ?? [];
  const hashes = some(SEGMENTS);
  const gone = held.splice(0, SEGMENTS);
  held.push(...hashes);
  await mock.ask({ type: "exchange", replica, hashes, gone });
}

const edge = await startEdge();
const { mock, ports } = await startMock(1);

async function measure(part: Row["part"], work: (() => Promise<void>) | null): Promise<Row> {
  const written = async () => [await metric(edge, "warmpath_checkpoint_bytes_total"), await metric(edge, "warmpath_checkpoint_rows_total")];
  const [bytes = 0, rows = 0] = await written();
  const startedMs = performance.now();
  const endMs = startedMs + SECONDS * 1_000;
  let done = 0;
  const requests = async (): Promise<void> => {
    while (work !== null && performance.now() < endMs) {
      for (; done < ((performance.now() - startedMs) * REQUESTS_PER_S) / 1_000; done++) await work();
      await sleep(5);
    }
  };
  const tookMs: number[] = [];
  const calls = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const beginMs = performance.now();
      await metric(edge, "warmpath_index_entries");
      tookMs.push(performance.now() - beginMs);
      await sleep(CALL_EVERY_MS);
    }
  };
  await Promise.all([requests(), calls()]);
  const [bytesNow = 0, rowsNow = 0] = await written();
  tookMs.sort((left, right) => left - right);
  const at = (share: number): number => round(tookMs[Math.floor((tookMs.length - 1) * share)] ?? 0, 1);
  return {
    part,
    calls: tookMs.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    longestMs: at(1),
    checkpointMbPerS: round((bytesNow - bytes) / 1e6 / SECONDS, 2),
    rowsPerRequest: done === 0 ? 0 : round((rowsNow - rows) / done, 4),
  };
}

try {
  await joinReplicas(edge, mock, ports, REPLICAS);
  for (let held = 0, turn = 0; held < ENTRIES; turn++, held += AT_ONCE) {
    const replica = turn % REPLICAS;
    const hashes = some(AT_ONCE);
    byReplica[replica]?.push(...hashes);
    await mock.ask({ type: "hold", replica, hashes });
  }
  await waitForEntries(edge, ENTRIES);
  // The last of the fill is in the checkpoint.
  await sleep(11_000);
  const rows: Row[] = [await measure("without changes", null)];
  let turn = 0;
  rows.push(await measure("with changes", () => exchange(mock, turn++ % REPLICAS)));
  for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
  const parameters = { entries: ENTRIES, replicas: REPLICAS, requestsPerS: REQUESTS_PER_S, segments: SEGMENTS, seconds: SECONDS };
  process.stdout.write(`${writeResult("checkpoint", parameters, rows)}\n`);
} finally {
  mock.end();
  await edge.end();
  endChildren();
  endArms();
}
