import type { Plan } from "./plan.ts";
import { type PeerPolicy, inFlightRequests } from "./policy.ts";
import { simulate, type SimulationOptions } from "./simulate.ts";

/** Of a plan's sessions, at most so many at once while it is drained: the middle of the run must be full. */
const AT_ONCE_SHARE = 0.25;
/** Of the ends in a drain, what comes before and after is filling and emptying. */
const FROM = 0.1;
const TO = 0.8;
/** More sessions make it worse: no need to try more still. */
const WORSE = 0.9;

/** Least uncached tokens times (requests in flight + 1); ties by chance. Plain, and nobody's product: what a load is measured against. */
export const PLAIN: PeerPolicy = {
  name: "plain",
  choose: ({ promptTokens }, sights, draw) => {
    if (sights.length === 0) throw new RangeError("no replica to choose from");
    const costs = sights.map((sight) => Math.max(1, promptTokens - sight.deviceTokens) * (inFlightRequests(sight) + 1));
    const least = Math.min(...costs);
    const best = costs.flatMap((cost, index) => (cost === least ? [index] : []));
    return best[Math.floor(draw() * best.length)] ?? 0;
  },
};

/**
 * Requests a second that the fleet completes when it never runs dry: what load 1 means. Open arrivals all come at once. Of sessions so many run at a time,
 * the next beginning when one has ended, thinking and tools taking their time: 4 a replica, 8, 16 and so on up to a quarter of the plan's, and the
 * best of these rates counts (too few leave the fleet idle, too many throw each other out of the cache); give it a plan of many sessions. Chosen by
 * `PLAIN`; the rate is that between a tenth and eight tenths of the ends. Load L is L times this rate, the same for every policy: one that reuses
 * more may well complete more than load 1.
 */
export function saturation(plan: Plan, options: SimulationOptions): number {
  const atOnce: Plan = { ...plan, requests: plan.requests.map((request) => (request.at === null ? request : { ...request, at: 0 })) };
  if (plan.requests.every(({ at }) => at !== null)) return drainRate(atOnce, options, null);
  const sessions = plan.requests.filter(({ at }) => at !== null).length;
  let best = 0;
  for (let each = 4; each === 4 || each * options.replicas <= sessions * AT_ONCE_SHARE; each *= 2) {
    const rate = drainRate(atOnce, options, each * options.replicas);
    if (rate < best * WORSE) break;
    best = Math.max(best, rate);
  }
  return best;
}

function drainRate(plan: Plan, options: SimulationOptions, sessionsAtOnce: number | null): number {
  const quiet = {
    patienceMs: null,
    tpotMs: null,
    regions: null,
    turnover: [],
    eventDelayMs: 0,
    eventLoss: 0,
    announced: true,
    edges: 1,
    bookingMs: 0,
    rttMs: 0,
  };
  const still = { ...options, ...quiet, topology: "aggregated" as const, sessionsAtOnce };
  const { endTimes } = simulate(plan, { kind: "policy", policy: PLAIN }, still);
  const from = Math.floor(endTimes.length * FROM);
  const to = Math.min(endTimes.length - 1, Math.floor(endTimes.length * TO));
  const ms = (endTimes[to] ?? 0) - (endTimes[from] ?? 0);
  return ms > 0 ? ((to - from) * 1_000) / ms : endTimes.length;
}
