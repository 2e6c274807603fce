/** A view as numbers in rows, as decisions are kept: 64 candidates are about 14 KB. */
import type { CandidateView, PoolView } from "../decision/decision.ts";

/** A PoolView with its numbers in one row per candidate, in the order of COLUMNS. */
export interface PackedView {
  names: readonly string[];
  eligible: readonly boolean[];
  prefills: readonly boolean[];
  transfers: readonly boolean[];
  decodeOnly: readonly boolean[];
  numbers: Float64Array;
  /** Numbers of a row. */
  columns: number;
  meanOutputTokens: number;
  remotePrefillTokens: number | null;
}

type Rate = keyof CandidateView["rates"];
type Field = Exclude<keyof CandidateView, "name" | "rates" | "eligible" | "prefills" | "decodeOnly" | "transfers">;

/** Kept rows are read by place: append only. */
const COLUMNS = [
  "replica",
  "overlapSegments",
  "cachedTokens",
  "inFlight",
  "queuedPrefillMs",
  "liveKvTokens",
  "kvTokens",
  "sequences",
  "queueLimit",
  "deviceTokens",
  "memoryTokens",
  "prefillMsPerToken",
  "loadMsPerToken",
  "transferMsPerToken",
  "attentionMsPerPair",
  "decodeMsPerSequence",
  "decodeMsPerContextToken",
  "predictedTokens",
  "contextTokens",
  "plannedMs",
  "holdMs",
  "decodeMsPerStep",
  "decodeStretch",
  "decodeSequencesSeen",
  "outputTokens",
  "besideInFlight",
  "besideContextTokens",
  "ttftStretch",
  "ttftExtraMs",
  "stuckMs",
] as const satisfies readonly (Field | Rate)[];

export function packView(view: PoolView): PackedView {
  const { candidates, meanOutputTokens, remotePrefillTokens } = view;
  const numbers = new Float64Array(candidates.length * COLUMNS.length);
  for (const [row, candidate] of candidates.entries()) pack(candidate, numbers, row * COLUMNS.length);
  const names = candidates.map((candidate) => candidate.name);
  const eligible = candidates.map((candidate) => candidate.eligible);
  const prefills = candidates.map((candidate) => candidate.prefills);
  const transfers = candidates.map((candidate) => candidate.transfers);
  const decodeOnly = candidates.map((candidate) => candidate.decodeOnly);
  return { names, eligible, prefills, transfers, decodeOnly, numbers, columns: COLUMNS.length, meanOutputTokens, remotePrefillTokens };
}

/** In the order of COLUMNS; written out because every decision does it. */
function pack(candidate: CandidateView, into: Float64Array, from: number): void {
  const { rates } = candidate;
  into[from] = candidate.replica;
  into[from + 1] = candidate.overlapSegments;
  into[from + 2] = candidate.cachedTokens;
  into[from + 3] = candidate.inFlight;
  into[from + 4] = candidate.queuedPrefillMs;
  into[from + 5] = candidate.liveKvTokens;
  into[from + 6] = candidate.kvTokens;
  into[from + 7] = candidate.sequences;
  into[from + 8] = candidate.queueLimit;
  into[from + 9] = candidate.deviceTokens;
  into[from + 10] = candidate.memoryTokens;
  into[from + 11] = rates.prefillMsPerToken;
  into[from + 12] = rates.loadMsPerToken;
  into[from + 13] = rates.transferMsPerToken;
  into[from + 14] = rates.attentionMsPerPair;
  into[from + 15] = rates.decodeMsPerSequence;
  into[from + 16] = rates.decodeMsPerContextToken;
  into[from + 17] = candidate.predictedTokens;
  into[from + 18] = candidate.contextTokens;
  into[from + 19] = candidate.plannedMs;
  into[from + 20] = candidate.holdMs;
  into[from + 21] = rates.decodeMsPerStep;
  into[from + 22] = rates.decodeStretch;
  into[from + 23] = rates.decodeSequencesSeen;
  into[from + 24] = candidate.outputTokens;
  into[from + 25] = candidate.besideInFlight;
  into[from + 26] = candidate.besideContextTokens;
  into[from + 27] = rates.ttftStretch;
  into[from + 28] = rates.ttftExtraMs;
  into[from + 29] = candidate.stuckMs;
}

export function unpackView(packed: PackedView): PoolView {
  const { columns } = packed;
  const candidates = packed.names.map((name, row): CandidateView => {
    const number = (column: Field | Rate): number => {
      const at = COLUMNS.indexOf(column);
      return at < columns ? (packed.numbers[row * columns + at] ?? 0) : 0;
    };
    return {
      replica: number("replica"),
      name,
      overlapSegments: number("overlapSegments"),
      cachedTokens: number("cachedTokens"),
      deviceTokens: number("deviceTokens"),
      memoryTokens: number("memoryTokens"),
      predictedTokens: number("predictedTokens"),
      inFlight: number("inFlight"),
      contextTokens: number("contextTokens"),
      besideInFlight: number("besideInFlight"),
      besideContextTokens: number("besideContextTokens"),
      stuckMs: number("stuckMs"),
      queuedPrefillMs: number("queuedPrefillMs"),
      plannedMs: number("plannedMs"),
      liveKvTokens: number("liveKvTokens"),
      outputTokens: number("outputTokens"),
      kvTokens: number("kvTokens"),
      sequences: number("sequences"),
      queueLimit: number("queueLimit"),
      holdMs: number("holdMs"),
      rates: {
        prefillMsPerToken: number("prefillMsPerToken"),
        attentionMsPerPair: number("attentionMsPerPair"),
        decodeMsPerSequence: number("decodeMsPerSequence"),
        decodeMsPerStep: number("decodeMsPerStep"),
        decodeStretch: number("decodeStretch"),
        decodeSequencesSeen: number("decodeSequencesSeen"),
        decodeMsPerContextToken: number("decodeMsPerContextToken"),
        loadMsPerToken: number("loadMsPerToken"),
        transferMsPerToken: number("transferMsPerToken"),
        ttftStretch: number("ttftStretch"),
        ttftExtraMs: number("ttftExtraMs"),
      },
      eligible: packed.eligible[row] ?? false,
      prefills: packed.prefills[row] ?? false,
      transfers: packed.transfers[row] ?? false,
      decodeOnly: packed.decodeOnly[row] ?? false,
    };
  });
  return { candidates, meanOutputTokens: packed.meanOutputTokens, remotePrefillTokens: packed.remotePrefillTokens };
}
