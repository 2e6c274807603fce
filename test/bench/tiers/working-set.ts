/** Conversations that take turns and are four times what the device holds, through the started product, with and without lower tiers. */
import { metric, startProduct } from "../../e2e/started.ts";
import { type ConversationPlan, makeConversations, type Measured, play } from "../conversations.ts";
import { mean, percentile, round, sum } from "./figures.ts";

const MIB = 1024 * 1024;
const ARMS = [
  { tiers: "off", hostBytes: 0, diskBytes: 0 },
  { tiers: "host", hostBytes: 128 * MIB, diskBytes: 0 },
  { tiers: "host + disk", hostBytes: 8 * MIB, diskBytes: 1024 * MIB },
] as const;
type Arm = (typeof ARMS)[number];
const PASSES = 2;
/** Every conversation has a system prompt of its own. */
const PLAN: ConversationPlan = { seed: 42, groups: 32, conversations: 32, turns: 4, systemBytes: 3_600, userWords: 50 };
/** One replica, so that routing takes no part. */
const FLEET = { replicas: 1, sequences: 7, contextTokens: 2_048 };
const LOAD = { concurrency: 2, maxTokens: 24 };

export const workingSetParameters = { plan: PLAN, fleet: FLEET, load: LOAD, passes: PASSES, arms: ARMS, model: "warmpath-demo" };

export interface WorkingSetRow {
  part: "working set";
  tiers: Arm["tiers"];
  /** A number, or "all" of the arm's requests. */
  pass: number | "all";
  requests: number;
  failed: number;
  /** Prompts of the last turns over the KV tokens of the device. */
  overDevice: number;
  meanTtftMs: number;
  p99TtftMs: number;
  /** Of the prompt tokens, by the engine's word. */
  cachedShare: number;
  /** After each conversation's first turn, which no tier can know. */
  meanReturnTtftMs: number;
  p99ReturnTtftMs: number;
  returnCachedShare: number;
}

const cachedShare = (requests: readonly Measured[]): number =>
  round(sum(requests.map(({ cachedTokens }) => cachedTokens)) / Math.max(1, sum(requests.map(({ promptTokens }) => promptTokens))), 3);

function rowOf({ tiers }: Arm, pass: WorkingSetRow["pass"], passes: readonly Measured[][]): WorkingSetRow {
  const all = passes.flat();
  const good = all.filter(({ end }) => end === "done");
  const returning = good.filter(({ turn }) => turn > 0);
  const ttfts = good.map(({ ttftMs }) => ttftMs);
  const returnTtfts = returning.map(({ ttftMs }) => ttftMs);
  const last = sum(good.filter(({ turn }) => turn === PLAN.turns - 1).map(({ promptTokens }) => promptTokens)) / passes.length;
  return {
    part: "working set",
    tiers,
    pass,
    requests: all.length,
    failed: all.length - good.length,
    overDevice: round(last / (FLEET.sequences * FLEET.contextTokens), 2),
    meanTtftMs: round(mean(ttfts)),
    p99TtftMs: round(percentile(ttfts, 0.99)),
    cachedShare: cachedShare(good),
    meanReturnTtftMs: round(mean(returnTtfts)),
    p99ReturnTtftMs: round(percentile(returnTtfts, 0.99)),
    returnCachedShare: cachedShare(returning),
  };
}

async function run(arm: Arm): Promise<Measured[]> {
  // The launcher hands its environment to the replicas.
  process.env.WARMPATH_HOST_BYTES = String(arm.hostBytes);
  process.env.WARMPATH_DISK_BYTES = String(arm.diskBytes);
  const product = await startProduct(FLEET);
  try {
    const warming = makeConversations({ ...PLAN, seed: PLAN.seed + 1, groups: 4, conversations: 4, turns: 1, systemBytes: 64 });
    await play(product, warming, { concurrency: 2, maxTokens: 8 });
    const requests = await play(product, makeConversations(PLAN), LOAD);
    const leases = await metric(product, "warmpath_leases");
    if (leases !== 0) console.log(`${leases} leases are left`);
    return requests;
  } finally {
    await product.stop();
    delete process.env.WARMPATH_HOST_BYTES;
    delete process.env.WARMPATH_DISK_BYTES;
  }
}

export async function measureWorkingSet(): Promise<WorkingSetRow[]> {
  const runs = new Map<Arm, Measured[][]>(ARMS.map((arm) => [arm, []]));
  const rows: WorkingSetRow[] = [];
  for (let pass = 1; pass <= PASSES; pass++) {
    // The second pass in the opposite order, so that a machine that grows busier favours none.
    for (const arm of pass % 2 === 1 ? ARMS : ARMS.toReversed()) {
      const done = await run(arm);
      runs.get(arm)?.push(done);
      const row = rowOf(arm, pass, [done]);
      rows.push(row);
      console.log(
        `working set ${pass}/${PASSES} tiers ${arm.tiers}: mean ${row.meanTtftMs} ms, p99 ${row.p99TtftMs} ms, ${row.cachedShare} cached`,
      );
    }
  }
  for (const [arm, passes] of runs) rows.push(rowOf(arm, "all", passes));
  return rows;
}
