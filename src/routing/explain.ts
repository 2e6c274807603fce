import { decide } from "./decide.ts";
import type { Decision, PlannedTransfer, PoolView, Profile, RequestView } from "./decision.ts";
import { type PackedView, packView, unpackView } from "./packed-view.ts";
import { NOTHING } from "./profiles.ts";

export const MAX_RECORDS = 1_024;

/** Everything needed to decide again, and what came of it. The view is packed: 64 candidates are about 10 KB. */
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
  /** Leading tokens that had come by before, in whatever request; absent in rows from before it was noted, and where tokens are only counted. */
  seenTokens?: number;
  /** From its coming to the edge to this decision; absent in rows from before it was noted. */
  waitedMs?: number;
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
  transfer: TransferOutcome | null;
  /** How its lease ended; null while it lives. */
  ended: "settled" | "released" | "expired" | null;
}

/** By the receiver's own word. */
export interface TransferOutcome {
  kind: "prefill" | "pull";
  /** Name of the sender. */
  replica: string;
  /** fallback: it came to nothing, or not in time, and the receiver computed instead. */
  outcome: "used" | "fallback";
  why?: string | undefined;
  bytes: number;
  /** From asking to the last byte; of a prefill, the wait for it not counted. */
  ms: number;
  tokens: number;
}

export interface DecisionContext {
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

/** A record as a row keeps it: the numbers as they lie in memory (little-endian doubles), all else as JSON. To write 64 candidates in decimals takes longer than to decide. */
export interface RecordRow {
  record: string;
  numbers: Uint8Array<ArrayBuffer>;
}

export function rowOf(record: ExplainRecord): RecordRow {
  const { view } = record;
  return { record: JSON.stringify({ ...record, view: { ...view, numbers: [] } }), numbers: new Uint8Array(view.numbers.slice().buffer) };
}

/** Of what `rowOf` made. */
export function encodedOfRow({ record, numbers }: RecordRow): EncodedRecord {
  const encoded = JSON.parse(record) as EncodedRecord;
  return { ...encoded, view: { ...encoded.view, numbers: [...new Float64Array(numbers.slice().buffer)] } };
}

/** Of what `encodeRecord` made; JSON from elsewhere is parsed at the door first. */
export function decodeRecord(encoded: EncodedRecord): ExplainRecord {
  const tiers = encoded.view.transfers === undefined ? fromBeforeTiers(encoded) : encoded;
  // Weights that were not known then weigh nothing.
  const now = { ...tiers, profile: { ...tiers.profile, weights: { ...NOTHING, ...tiers.profile.weights } } };
  return { ...now, view: { ...now.view, numbers: Float64Array.from(now.view.numbers) } };
}

/** A row from before tiers and transfers were weighed, in today's shape: all that was held counted as on the device, and it decides the same. */
function fromBeforeTiers(encoded: EncodedRecord): EncodedRecord {
  const { view, decision, outcome } = encoded;
  const none = view.names.map(() => false);
  const numbers = view.names.flatMap((_name, row) => {
    const old = view.numbers.slice(row * 10, row * 10 + 10);
    const held = old[2] ?? 0;
    return [...old.slice(0, 9), held, held, old[9] ?? 0, 0, 0];
  });
  return {
    ...encoded,
    view: { ...view, numbers, prefills: none, transfers: none, remotePrefillTokens: null },
    decision: { ...decision, transfer: null },
    outcome: { ...outcome, loadedTokens: null, loadMs: null, transfer: null },
  };
}

/** The last decisions, oldest overwritten first. */
export class ExplainRing {
  readonly #records = new Map<string, ExplainRecord>();
  /** Changed since they were last flushed, by key. */
  readonly #unflushed = new Set<string>();
  readonly #latest = new Map<string, string>();
  readonly #maxRecords: number;

  constructor(maxRecords = MAX_RECORDS) {
    this.#maxRecords = maxRecords;
  }

  get size(): number {
    return this.#records.size;
  }

  add(record: ExplainRecord): void {
    const key = keyOf(record.id, record.attempt);
    this.#records.delete(key);
    this.#records.set(key, record);
    this.#unflushed.add(key);
    this.#latest.set(record.id, key);
    while (this.#records.size > this.#maxRecords) this.#forgetOldest();
  }

  /** Of a request's attempts the one given, else the one decided last. */
  get(id: string, attempt?: number): ExplainRecord | undefined {
    const key = attempt === undefined ? this.#latest.get(id) : keyOf(id, attempt);
    return key === undefined ? undefined : this.#records.get(key);
  }

  /** Fills in what came of it; false when the record is gone. */
  complete(id: string, attempt: number, outcome: Partial<DecisionOutcome>): boolean {
    const key = keyOf(id, attempt);
    const record = this.#records.get(key);
    if (record === undefined) return false;
    record.outcome = { ...record.outcome, ...outcome };
    this.#unflushed.add(key);
    return true;
  }

  /** Added or completed since the last `flushed()`; write them, then call it. */
  unflushed(): ExplainRecord[] {
    const records: ExplainRecord[] = [];
    for (const key of this.#unflushed) {
      const record = this.#records.get(key);
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  flushed(): void {
    this.#unflushed.clear();
  }

  #forgetOldest(): void {
    const oldest = this.#records.entries().next();
    if (oldest.done === true) return;
    const [key, record] = oldest.value;
    this.#records.delete(key);
    this.#unflushed.delete(key);
    if (this.#latest.get(record.id) === key) this.#latest.delete(record.id);
  }
}

function keyOf(id: string, attempt: number): string {
  return `${attempt} ${id}`;
}
