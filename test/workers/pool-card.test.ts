/** What an isolate knows of its pools does not stay young for an hour because the machine's clock was set back by one. */
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { EdgeView } from "../../src/edge/edge-view.ts";
import type { Env } from "../../workers/env.ts";
import { poolCards } from "../../workers/pool-card.ts";
import { MockReplica } from "./mock-replica.ts";

let edge: EdgeView;

beforeEach(() => {
  edge = new EdgeView();
  vi.useFakeTimers({ toFake: ["Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** As requests see it that come one after the other: what one fetches in the background the next one knows. */
async function replicasKnown(bindings: Env, pool: string): Promise<number | undefined> {
  const under: Promise<unknown>[] = [];
  await poolCards(edge, bindings, (work) => under.push(work));
  await Promise.all(under);
  const cards = await poolCards(edge, bindings, () => undefined);
  return cards.find(({ card }) => card.pool === pool)?.card.replicas;
}

it.each<[string, Env, string]>([
  ["its only pool", { ...env, WARMPATH_POOLS: "card-only" }, "card-only"],
  ["one of several, by the directory", { ...env, WARMPATH_POOLS: "card-one,card-two" }, "card-one"],
])("a new card of %s is fetched and kept", async (_which, bindings, pool) => {
  const replicas = [await MockReplica.join(pool, "r0")];
  expect(await replicasKnown(bindings, pool)).toBe(1);
  vi.setSystemTime(Date.now() - 3_600_000);
  await poolCards(edge, bindings, () => undefined);
  replicas.push(await MockReplica.join(pool, "r1"));
  // The directory fetches one anew for whoever comes next.
  const known: (number | undefined)[] = [];
  for (let n = 0; n < 3; n++) {
    vi.setSystemTime(Date.now() + 6_000);
    known.push(await replicasKnown(bindings, pool));
  }
  expect(known.at(-1)).toBe(2);
  for (const replica of replicas) replica.close();
});
