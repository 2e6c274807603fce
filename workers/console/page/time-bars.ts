/** The picture of one decision: each candidate's predicted time to the first token, and what it is made of. */
import { firstTokenMs } from "../../../src/decision/first-token.ts";
import type { PlannedTransfer, ScoredCandidate } from "../../../src/decision/decision.ts";
import type { BarPart, PartKind } from "./bar-part.ts";
import { time } from "./words.ts";

/** More bars say no more; the chosen one and the soonest are shown. */
const MOST_BARS = 8;

/** Of one attempt in `GET /v1/decisions/{id}`. */
export interface PicturedAttempt {
  candidates: ScoredCandidate[];
  decision: { chosen: number | null; transfer: PlannedTransfer | null };
  outcome: { ttftMs: number | null };
}

interface TimeBar {
  name: string;
  /** Predicted time to the first token, ms. */
  ms: number;
  isChosen: boolean;
  /** Why it could not be chosen. */
  barred: string | null;
  parts: BarPart[];
  /** The same in words. */
  words: string;
}

interface TimePicture {
  /** The chosen one first, then the soonest. */
  bars: TimeBar[];
  /** Candidates without a bar. */
  left: number;
  /** When the first token really came, ms after the decision. */
  measuredMs: number | null;
  /** The longest time in the picture, ms. */
  wholeMs: number;
}

export const PART_WORDS: Readonly<Record<PartKind, string>> = {
  waits: "waits for others",
  loads: "loads from a lower tier",
  computes: "computes the prompt",
  other: "all else",
};

/** Queue, loading and prefill as they usually turn out (src/decision/cost.ts); `other` is what is left of the predicted time. */
function partsOf({ terms, ttftStretch }: ScoredCandidate, transfer: PlannedTransfer | null, ms: number): BarPart[] {
  const { queueMs, awaitedMs, loadMs, prefillMs } = terms;
  const sizes: [PartKind, number][] =
    transfer === null
      ? [
          ["waits", queueMs + awaitedMs],
          ["loads", loadMs],
          ["computes", prefillMs],
        ]
      : [
          ["waits", transfer.kind === "prefill" ? transfer.senderMs : queueMs],
          ["computes", transfer.receiverMs],
        ];
  const parts = sizes.map(([kind, size]): BarPart => ({ kind, size: ttftStretch * size }));
  const rest = ms - parts.reduce((sum, { size }) => sum + size, 0);
  return [...parts, { kind: "other" as const, size: rest }].filter(({ size }) => size > 0);
}

function barOf(candidate: ScoredCandidate, isChosen: boolean, transfer: PlannedTransfer | null): TimeBar {
  const { name, barred } = candidate;
  const ms = firstTokenMs(candidate, transfer);
  const parts = partsOf(candidate, transfer, ms);
  const made = parts.map(({ kind, size }) => `${PART_WORDS[kind]} ${time(size)}`).join(", ");
  const why = isChosen ? " (chosen)" : barred === null ? "" : ` (${barred})`;
  return { name, ms, isChosen, barred, parts, words: `${name}${why}: ${time(ms)} predicted; ${made}` };
}

export function timePicture({ candidates, decision, outcome }: PicturedAttempt): TimePicture {
  const { chosen, transfer } = decision;
  const all = candidates
    .map((candidate, index) => barOf(candidate, index === chosen, index === chosen ? transfer : null))
    .toSorted((a, b) => Number(b.isChosen) - Number(a.isChosen) || a.ms - b.ms);
  const bars = all.slice(0, MOST_BARS);
  const wholeMs = Math.max(0, outcome.ttftMs ?? 0, ...bars.map(({ ms }) => ms));
  return { bars, left: all.length - bars.length, measuredMs: outcome.ttftMs, wholeMs };
}
