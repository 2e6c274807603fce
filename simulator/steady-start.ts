import type { Plan, PlannedRequest } from "./plan.ts";

/** What a token of an answer takes, about, in a fleet that is not overloaded; only says how far sessions have come when the run begins. */
const NOMINAL_TPOT_MS = 15;
/** Sessions' lengths differ: by this quantile of them, as many end as begin. */
const LENGTH_QUANTILE = 0.95;
/** The most of the time in which sessions begin that may lie before the run. */
const MOST_BEFORE = 0.4;

/**
 * A closed loop that begins as it goes on: a fleet that starts with no session reaches its load only when the first sessions end. The start of the run is
 * moved into the plan; sessions that began before are taken to have come as far as they would have, what they asked before is left out, and their next
 * request comes when it would have come. Their prompts are nowhere in a cache yet; the warm-up is theirs. Open arrivals stay as they are.
 *
 * @param plan paced: its times are ms.
 */
export function steadyStart(plan: Plan): Plan {
  if (plan.requests.every(({ at }) => at !== null)) return plan;
  const times = nominalTimes(plan.requests);
  const startMs = startOf(plan.requests, times);
  const kept: PlannedRequest[] = [];
  const places = new Map<number, number>();
  for (const request of plan.requests) {
    const comesMs = times[request.id] ?? 0;
    if (comesMs < startMs) continue;
    const after = request.after.flatMap((before) => places.get(before) ?? []);
    const id = kept.length;
    places.set(request.id, id);
    kept.push(after.length > 0 ? { ...request, id, after } : { ...request, id, after, gapMs: 0, at: comesMs - startMs });
  }
  return { ...plan, requests: kept };
}

/** When each request would come if all went as it nominally does. */
function nominalTimes(requests: readonly PlannedRequest[]): Float64Array {
  const times = new Float64Array(requests.length);
  for (const { id, at, after, gapMs } of requests) {
    let readyMs = at ?? 0;
    for (const before of after) {
      const answerMs = (requests[before]?.outputTokens ?? 0) * NOMINAL_TPOT_MS;
      readyMs = Math.max(readyMs, (times[before] ?? 0) + answerMs + gapMs);
    }
    times[id] = readyMs;
  }
  return times;
}

function startOf(requests: readonly PlannedRequest[], times: Float64Array): number {
  /** Of each request the first one of its session. */
  const roots = new Int32Array(requests.length);
  const lengths = new Map<number, number>();
  let lastBeginsMs = 0;
  for (const { id, at, after } of requests) {
    const root = after.length > 0 ? (roots[after[0] ?? 0] ?? 0) : id;
    roots[id] = root;
    if (at !== null) lastBeginsMs = Math.max(lastBeginsMs, at);
    lengths.set(root, Math.max(lengths.get(root) ?? 0, (times[id] ?? 0) - (times[root] ?? 0)));
  }
  const sorted = Float64Array.from(lengths.values()).sort();
  const length = sorted[Math.floor(LENGTH_QUANTILE * (sorted.length - 1))] ?? 0;
  return Math.min(length, MOST_BEFORE * lastBeginsMs);
}
