/**
 * The pool's beliefs of the mock replicas beside their truth, and of one that comes back late beside its like. What is compared is by how much a longer
 * prompt takes longer than the shortest one: what every first token waits for besides (a step that runs, the network, this machine) is in both.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { round } from "../tiers/figures.ts";
import type { SoakEdge } from "./edge-process.ts";
import type { MockFleet } from "./fleet.ts";
import { idlePredictions, type KeptRecord, recordsOf, timesOff } from "./predictions.ts";
import { FLEET_TRUTH, idlePrefillMs, mockName } from "./truth.ts";

/** Prompt tokens; all but the last are lengths that the load has. */
export const LENGTHS = [16, 100, 500, 1_800, 4_000, 16_000] as const;
const SEEN_LENGTHS = LENGTHS.length - 1;
/** Shorter ones add too little to tell apart. */
const LEAST_ADDING = 500;
/** A replica or an edge that is younger has told too little. */
const KNOWN_AFTER_MS = 20_000;
const RETURN_MS = 60_000;
const RETURN_RECORDS = 400;

export interface Belief {
  request: number;
  /** Predicted ms on an idle replica, in the order of LENGTHS. */
  byReplica: Record<string, number[]>;
  /** Times off the truth in what the length adds: the worst of the lengths that the load has, and of the one that it has not. */
  seenOff: number;
  unseenOff: number;
  /** Replica and length of the worst seen. */
  worst: string;
}

/** What each of LENGTHS that adds enough takes more than the shortest, ms; all but the last are lengths that the load has. */
export function addedMs(byLength: readonly number[]): { tokens: number; ms: number; isSeen: boolean }[] {
  return LENGTHS.flatMap((tokens, at) =>
    tokens < LEAST_ADDING ? [] : [{ tokens, ms: (byLength[at] ?? 0) - (byLength[0] ?? 0), isSeen: at < SEEN_LENGTHS }],
  );
}

/** The worst of the lengths that the load has: times off. */
export function addedOff(one: readonly number[], other: readonly number[]): { tokens: number; off: number } {
  const others = addedMs(other);
  return addedMs(one)
    .flatMap(({ tokens, ms, isSeen }, at) => (isSeen ? [{ tokens, off: round(timesOff(ms, others[at]?.ms ?? 0), 2) }] : []))
    .reduce((worst, next) => (next.off > worst.off ? next : worst));
}

/** Null: nobody is known long enough. */
export function beliefOf(newest: KeptRecord, request: number, edge: SoakEdge, fleet: MockFleet): Belief | null {
  if (Date.now() - edge.startedAtMs < KNOWN_AFTER_MS) return null;
  const believed = idlePredictions(newest.record, LENGTHS);
  const belief: Belief = { request, byReplica: {}, seenOff: 0, unseenOff: 0, worst: "" };
  for (const [index, { slowness }] of FLEET_TRUTH.entries()) {
    const name = mockName(index);
    const predicted = believed.get(name);
    if (predicted === undefined || fleet.undisturbedMs(index) < KNOWN_AFTER_MS) continue;
    belief.byReplica[name] = predicted.map((ms) => round(ms, 2));
    const truths = addedMs(LENGTHS.map((tokens) => idlePrefillMs(tokens, slowness)));
    for (const [at, { tokens, ms, isSeen }] of addedMs(predicted).entries()) {
      const truthMs = truths[at]?.ms ?? 0;
      const off = round(timesOff(ms, truthMs), 2);
      if (!isSeen) belief.unseenOff = Math.max(belief.unseenOff, off);
      else if (off > belief.seenOff) {
        belief.seenOff = off;
        belief.worst = `${tokens} tokens on ${name}: ${round(ms, 2)} ms more, really ${round(truthMs)}`;
      }
    }
  }
  return Object.keys(belief.byReplica).length === 0 ? null : belief;
}

export interface Return {
  replica: string;
  /** Predicted ms by the first decision after its first report, in the order of LENGTHS; of its like the geometric mean. */
  predictedMs: number[];
  likeMs: number[];
  /** The worst of the lengths that the load has: times off its like in what the length adds. */
  off: number;
}

/** Waits for the first decision that knows a first report of this life of the replica. Null when none came in time. */
export async function returnOf(replica: number, joinedAtMs: number, edge: SoakEdge): Promise<Return | null> {
  const name = mockName(replica);
  for (const untilMs = performance.now() + RETURN_MS; performance.now() < untilMs; await sleep(500)) {
    const records = await recordsOf(edge, RETURN_RECORDS);
    const reported = records.flatMap(({ record: { decision, decidedAtMs, outcome, view } }) =>
      decidedAtMs >= joinedAtMs && view.names[decision.chosen ?? -1] === name && outcome.ttftMs !== null
        ? [decidedAtMs + outcome.ttftMs]
        : [],
    );
    const firstAtMs = Math.min(...reported);
    const after = records.find(({ record }) => record.decidedAtMs > firstAtMs && record.view.names.includes(name));
    if (after !== undefined) return compare(replica, after);
  }
  return null;
}

function compare(replica: number, { record }: KeptRecord): Return | null {
  const believed = idlePredictions(record, LENGTHS);
  const own = believed.get(mockName(replica)) ?? [];
  const like = FLEET_TRUTH.flatMap(({ slowness }, index): number[][] => {
    const found = believed.get(mockName(index));
    return index === replica || slowness !== FLEET_TRUTH[replica]?.slowness || found === undefined ? [] : [found];
  });
  if (like.length === 0) return null;
  const likeMs = LENGTHS.map((_, at) => Math.exp(like.reduce((sum, ms) => sum + Math.log(Math.max(0.1, ms[at] ?? 0)), 0) / like.length));
  const { off } = addedOff(likeMs, own);
  const rounded = (all: readonly number[]): number[] => all.map((ms) => round(ms, 2));
  return { replica: mockName(replica), predictedMs: rounded(own), likeMs: rounded(likeMs), off };
}
