import { describe, expect, it } from "vitest";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import { streamOf } from "../../../simulator/chance.ts";
import { ENGINES } from "../../../simulator/constants.ts";
import { Fleet } from "../../../simulator/fleet.ts";
import { RunLog } from "../../../simulator/measures.ts";
import { paced, type Plan } from "../../../simulator/plan.ts";
import { ProductRouter } from "../../../simulator/product-router.ts";
import { SimulatedReplica } from "../../../simulator/simulated-replica.ts";
import { Timeline } from "../../../simulator/timeline.ts";
import { WORKLOADS } from "../../../simulator/workload.ts";

interface Trouble {
  delayMs: number;
  loss: number;
  leaves: boolean;
  patienceMs: number | null;
  transfers: boolean;
}

const CALM: Trouble = { delayMs: 0, loss: 0, leaves: false, patienceMs: null, transfers: false };

/** Runs the plan to its end and then lets the pool's clocks run on for a while. */
function afterwards(
  plan: Plan,
  { delayMs, loss, leaves, patienceMs, transfers }: Trouble,
): { router: ProductRouter; replicas: SimulatedReplica[] } {
  const timeline = new Timeline();
  const events = { delayMs, loss, announced: true };
  const router = new ProductRouter({ timeline, tree: plan.tree, events, draw: streamOf(3, 101), edges: 1 }, { profile: CACHE_AWARE });
  const options = { bookingMs: 2, rttMs: 2, patienceMs, tpotMs: null, sessionsAtOnce: null };
  const replicas: SimulatedReplica[] = [];
  const fleet = new Fleet(timeline, plan, router, new RunLog(plan), options, (number, epoch, listener) => {
    const place = { number, epoch, roles: ["prefill", "decode"] as const, transfers };
    const replica = new SimulatedReplica(
      place,
      ENGINES["llama-8b-h100"],
      plan.tree,
      { hostTokens: 50_000, reuseGenerated: true },
      listener,
    );
    replicas.push(replica);
    return replica;
  });
  for (let number = 0; number < 3; number++) fleet.join(number);
  if (leaves) {
    timeline.at(8_000, () => fleet.leave(1));
    timeline.at(20_000, () => fleet.join(1));
  }
  fleet.begin();
  while (fleet.left > 0) if (!timeline.step()) throw new RangeError("it stands still");
  const untilMs = timeline.nowMs + 30_000;
  while (timeline.nowMs < untilMs) timeline.step();
  return { router, replicas: replicas.filter(({ alive }) => alive) };
}

describe("the product's pool after a run", () => {
  const plan = paced(WORKLOADS.conversation(streamOf(3, 7), 500), 20);

  it.each([
    ["all is well", CALM],
    ["a third of the frames was lost", { ...CALM, loss: 0.33 }],
    ["events came late, and some not at all", { ...CALM, delayMs: 700, loss: 0.1 }],
    ["a replica was lost and came back", { ...CALM, leaves: true }],
    ["clients gave up", { ...CALM, patienceMs: 60 }],
    ["blocks moved", { ...CALM, transfers: true, leaves: true }],
  ])("has no lease and no waiter left, and knows what replicas hold: %s", (_name, trouble) => {
    const { router, replicas } = afterwards(plan, trouble);
    const { leases, line, index } = router.state;
    expect(leases.size).toBe(0);
    expect(line.length).toBe(0);
    for (const { name, engine } of replicas) {
      const slot = router.state.named(name)?.slot ?? -1;
      expect(leases.load(slot).inFlight).toBe(0);
      expect(index.count(slot)).toBe(engine.cache.heldSegments);
      const wrong = plan.tree.hashes.filter((hash, segment) => index.tiersOf(hash, slot) !== engine.cache.tierBits(segment));
      expect(wrong).toHaveLength(0);
      expect(engine.cache.liveBlocks).toBe(0);
    }
  });
});
