/** What was predicted for requests and what came, read from the pool's own records, a sample of them at a time. */
import { decide } from "../../../src/decision/decide.ts";
import type { CandidateView } from "../../../src/decision/decision.ts";
import { decodeRecord, type EncodedRecord, type ExplainRecord, replay } from "../../../src/explain/record.ts";
import { firstTokenMs } from "../../../src/decision/first-token.ts";
import type { Hindsight } from "../../../src/explain/hindsight.ts";
import { unpackView } from "../../../src/explain/packed-view.ts";
import { percentile, round } from "../tiers/figures.ts";
import { BYTES_PER_TOKEN } from "./truth.ts";

/** A record is looked at from this age on, so that slow ones are not left out. */
const SETTLED_AFTER_MS = 1_500;

/** Upper bounds, prompt tokens. */
const CLASSES = [
  { name: "up to 50 tokens", most: 50 },
  { name: "up to 1,000 tokens", most: 1_000 },
  { name: "longer", most: Infinity },
] as const;

export interface Predicted {
  replica: string;
  promptTokens: number;
  /** When it was decided, with the length estimated from bytes. */
  foretoldMs: number;
  /** With the prompt's true length. */
  predictedMs: number;
  /** From the decision to the first token; of one that had none yet, what had passed. */
  actualMs: number;
  decidedAtMs: number;
  /** What ran on its replica, and what was queued there. */
  inFlight: number;
  queueMs: number;
  stuckMs: number;
}

/** Where the records are read. */
export interface Kept {
  url: string;
  headers: Record<string, string>;
}

type Listed = Omit<EncodedRecord, "tenant"> & { hindsight: Hindsight | null };

export interface KeptRecord {
  record: ExplainRecord;
  hindsight: Hindsight | null;
}

/** The newest last. Empty while no edge answers. */
export async function recordsOf({ url, headers }: Kept, limit: number): Promise<KeptRecord[]> {
  try {
    const response = await fetch(`${url}/v1/decisions?limit=${limit}`, { headers, signal: AbortSignal.timeout(10_000) });
    if (response.status !== 200) {
      await response.body?.cancel();
      return [];
    }
    const { data } = (await response.json()) as { data: Listed[] };
    return data.map(({ hindsight, ...row }) => ({ record: decodeRecord({ ...row, tenant: "" }), hindsight }));
  } catch {
    return [];
  }
}

/** `quietSinceMs`: nothing was disturbed since; of what was, no first token need be known. Clock: ms since 1970. */
export function predictedOf(kept: readonly KeptRecord[], nowMs: number, quietSinceMs: number): Predicted[] {
  return kept.flatMap(({ record, hindsight }): Predicted[] => {
    const { decision, decidedAtMs, outcome, request } = record;
    const { candidates } = replay(record);
    const chosen = candidates[decision.chosen ?? -1];
    const ageMs = nowMs - decidedAtMs;
    if (chosen === undefined || request.counts === true || ageMs < SETTLED_AFTER_MS) return [];
    const foretoldMs = firstTokenMs(chosen, decision.transfer);
    const { name: replica, terms } = chosen;
    const seen = { decidedAtMs, inFlight: terms.inFlight, queueMs: terms.queueMs, stuckMs: terms.stuckMs };
    if (hindsight !== null && outcome.promptTokens !== null) {
      const { predictedMs, actualMs } = hindsight;
      return [{ replica, promptTokens: outcome.promptTokens, foretoldMs, predictedMs, actualMs, ...seen }];
    }
    if (outcome.ended !== null || decidedAtMs < quietSinceMs || ageMs < foretoldMs) return [];
    return [{ replica, promptTokens: request.promptTokens, foretoldMs, predictedMs: foretoldMs, actualMs: ageMs, ...seen }];
  });
}

/** How many times off, in whichever direction: 1 or more. */
export const timesOff = (one: number, other: number): number => {
  // Below a tenth of a millisecond nothing is told apart.
  const [least, most] = [Math.max(0.1, Math.min(one, other)), Math.max(0.1, one, other)];
  return most / least;
};

export interface OffSummary {
  known: number;
  /** predicted / actual. */
  ratioP50: number;
  /** Times off. */
  offP50: number;
  offP99: number;
  actualP50Ms: number;
}

export function summaryOf(all: readonly Predicted[], predicted: (one: Predicted) => number = ({ predictedMs }) => predictedMs): OffSummary {
  const ratios = all.map((one) => predicted(one) / Math.max(0.1, one.actualMs));
  const off = all.map((one) => timesOff(predicted(one), one.actualMs));
  const actual = all.map(({ actualMs }) => actualMs);
  return {
    known: all.length,
    ratioP50: round(percentile(ratios, 0.5), 3),
    offP50: round(percentile(off, 0.5), 2),
    offP99: round(percentile(off, 0.99), 2),
    actualP50Ms: round(percentile(actual, 0.5)),
  };
}

/** By replica, by class of length, and both. */
export function groupsOf(all: readonly Predicted[]): Record<string, OffSummary> {
  const classOf = ({ promptTokens }: Predicted): string => CLASSES.find(({ most }) => promptTokens <= most)?.name ?? "longer";
  const keys = (one: Predicted): string[] => [one.replica, classOf(one), `${one.replica}, ${classOf(one)}`];
  const groups = Map.groupBy(
    all.flatMap((one) => keys(one).map((key) => ({ key, one }))),
    ({ key }) => key,
  );
  return Object.fromEntries(
    [...groups].toSorted(([a], [b]) => a.localeCompare(b)).map(([key, of]) => [key, summaryOf(of.map(({ one }) => one))]),
  );
}

/**
 * What the pool would predict by now for a prompt of each length, none of it cached, were the replica idle: its belief without the load of the
 * moment. By replica, ms, in the order of `lengths`.
 */
export function idlePredictions(record: ExplainRecord, lengths: readonly number[]): Map<string, number[]> {
  const view = unpackView(record.view);
  const idle = { ...view, candidates: view.candidates.map(idleOf) };
  const found = new Map<string, number[]>(view.candidates.map(({ name }) => [name, []]));
  for (const promptTokens of lengths) {
    const promptBytes = Math.round(promptTokens * BYTES_PER_TOKEN);
    const request = { promptTokens, promptBytes, segments: 0, excluded: [] };
    const { candidates } = decide(idle, request, record.profile, record.draw, record.turn);
    for (const { name, predictedTtftMs } of candidates) found.get(name)?.push(predictedTtftMs);
  }
  return found;
}

function idleOf(candidate: CandidateView): CandidateView {
  const nothingHeld = { overlapSegments: 0, cachedTokens: 0, deviceTokens: 0, memoryTokens: 0, predictedTokens: 0 };
  const nothingRuns = { inFlight: 0, contextTokens: 0, besideInFlight: 0, besideContextTokens: 0, liveKvTokens: 0, outputTokens: 0 };
  return { ...candidate, ...nothingHeld, ...nothingRuns, queuedPrefillMs: 0, plannedMs: 0 };
}
