import type { TransferReport } from "../pool/frames.ts";
import type { ResidencyClaim } from "../pool/residency-claim.ts";
import { type CompactView, expandView } from "./compact-view.ts";
import { decide } from "../decision/decide.ts";
import type { Decision, PlannedTransfer, PoolView, Profile, RequestView } from "../decision/decision.ts";
import { type PackedView, packView, unpackView } from "./packed-view.ts";

/** Everything needed to decide again, and what came of it. The view is packed: 64 candidates are about 14 KB. */
export interface ExplainRecord {
  id: string;
  attempt: number;
  /** Whose request it was: only they may read it. */
  tenant: string;
  /** Pool clock. */
  decidedAtMs: number;
  view: PackedView;
  request: RequestView;
  profile: Profile;
  draw: number;
  turn: number;
  /** Leading tokens that had come by before, in whatever request; absent where tokens are only counted. */
  seenTokens?: number;
  /** From its coming to the edge to this decision, ms; absent: it did not come through an edge. */
  waitedMs?: number;
  /** How sure the chosen replica was of what it holds, where that was not exact; absent: exact. */
  residency?: ResidencyClaim;
  /** What was decided; the candidates' numbers come back by `replay`. */
  decision: { chosen: number | null; outcome: Decision["outcome"]; reason: string; transfer: PlannedTransfer | null };
  /** Filled in later. */
  outcome: DecisionOutcome;
}

export interface DecisionOutcome {
  /** As the replica reported it; null until then. */
  cachedTokens: number | null;
  promptTokens: number | null;
  outputTokens: number | null;
  /** From the decision to the first token; null until then. */
  ttftMs: number | null;
  /** What it loaded from lower tiers, and how long that took. */
  loadedTokens: number | null;
  loadMs: number | null;
  /** How the transfer went that the decision planned; null until its replica says so. */
  transfer: TransferReport | null;
  /** How its lease ended; null while it lives. */
  ended: "settled" | "released" | "expired" | null;
}

/** What is needed of a request for as long as it runs. */
export type RunningDecision = Pick<ExplainRecord, "id" | "attempt" | "tenant" | "decidedAtMs" | "request" | "seenTokens" | "outcome">;

interface DecisionContext {
  id: string;
  attempt: number;
  tenant: string;
  decidedAtMs: number;
  view: PoolView;
  request: RequestView;
  profile: Profile;
  draw: number;
  turn: number;
  seenTokens?: number;
  waitedMs?: number;
  residency?: ResidencyClaim;
  decision: Decision;
}

export function explain(context: DecisionContext): ExplainRecord {
  const { view, decision, ...rest } = context;
  const { chosen, outcome, reason, transfer } = decision;
  const tokens = { cachedTokens: null, promptTokens: null, outputTokens: null, loadedTokens: null };
  const open = { ...tokens, ttftMs: null, loadMs: null, transfer: null, ended: null };
  return { ...rest, view: packView(view), decision: { chosen, outcome, reason, transfer }, outcome: open };
}

/** Decides again from the record: the same decision, with every candidate's numbers. */
export function replay(record: ExplainRecord): Decision {
  return decide(unpackView(record.view), record.request, record.profile, record.draw, record.turn);
}

/** JSON-safe twin of a record. */
export type EncodedRecord = Omit<ExplainRecord, "view"> & { view: Omit<PackedView, "numbers"> & { numbers: number[] } };

export function encodeRecord(record: ExplainRecord): EncodedRecord {
  return { ...record, view: { ...record.view, numbers: [...record.view.numbers] } };
}

/** A record as the pool remembers it once it has been written. */
export type CompactRecord = Omit<ExplainRecord, "view"> & { view: CompactView };

/** A record on its way from the pool to the edge: the view's numbers as `compactView` made them, all else as JSON. */
export interface RecordRow {
  record: string;
  numbers: Uint8Array<ArrayBuffer>;
}

export function rowOf(record: CompactRecord): RecordRow {
  const { bytes, ...view } = record.view;
  return { record: JSON.stringify({ ...record, view }), numbers: bytes };
}

/** Of what `rowOf` made. */
export function encodedOfRow({ record, numbers }: RecordRow): EncodedRecord {
  const compact = JSON.parse(record) as CompactRecord;
  return encodeRecord({ ...compact, view: expandView({ ...compact.view, bytes: numbers }) });
}

/** Of what `encodeRecord` made; JSON from elsewhere is parsed at the door first. */
export function decodeRecord(encoded: EncodedRecord): ExplainRecord {
  return { ...encoded, view: { ...encoded.view, numbers: Float64Array.from(encoded.view.numbers) } };
}
