import { decide } from "./decide.ts";
import type { CandidateView, Decision, PlannedTransfer, PoolView, Profile, RequestView } from "./decision.ts";
import { NOTHING } from "./profiles.ts";

export const MAX_RECORDS = 1_024;

/** Everything needed to decide again, and what came of it. The view is packed: 64 candidates are about 5 KB. */
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

/** A PoolView with its numbers in one row per candidate, in the order of FIELDS. */
export interface PackedView {
  names: readonly string[];
  eligible: readonly boolean[];
  prefills: readonly boolean[];
  transfers: readonly boolean[];
  numbers: Float64Array;
  meanOutputTokens: number;
  remotePrefillTokens: number | null;
}

const FIELDS = [
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
] as const satisfies readonly (keyof CandidateView)[];
const RATES = ["prefillMsPerToken", "loadMsPerToken", "transferMsPerToken"] as const satisfies readonly (keyof CandidateView["rates"])[];
const COLUMNS = FIELDS.length + RATES.length;

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

export function packView(view: PoolView): PackedView {
  const { candidates, meanOutputTokens, remotePrefillTokens } = view;
  const numbers = new Float64Array(candidates.length * COLUMNS);
  let at = 0;
  for (const candidate of candidates) {
    for (const field of FIELDS) numbers[at++] = candidate[field];
    for (const rate of RATES) numbers[at++] = candidate.rates[rate];
  }
  const names = candidates.map((candidate) => candidate.name);
  const eligible = candidates.map((candidate) => candidate.eligible);
  const prefills = candidates.map((candidate) => candidate.prefills);
  const transfers = candidates.map((candidate) => candidate.transfers);
  return { names, eligible, prefills, transfers, numbers, meanOutputTokens, remotePrefillTokens };
}

export function unpackView(packed: PackedView): PoolView {
  const candidates = packed.names.map((name, row): CandidateView => {
    const number = (column: number): number => packed.numbers[row * COLUMNS + column] ?? 0;
    return {
      replica: number(0),
      name,
      overlapSegments: number(1),
      cachedTokens: number(2),
      inFlight: number(3),
      queuedPrefillMs: number(4),
      liveKvTokens: number(5),
      kvTokens: number(6),
      sequences: number(7),
      queueLimit: number(8),
      deviceTokens: number(9),
      memoryTokens: number(10),
      rates: { prefillMsPerToken: number(11), loadMsPerToken: number(12), transferMsPerToken: number(13) },
      eligible: packed.eligible[row] ?? false,
      prefills: packed.prefills[row] ?? false,
      transfers: packed.transfers[row] ?? false,
    };
  });
  return { candidates, meanOutputTokens: packed.meanOutputTokens, remotePrefillTokens: packed.remotePrefillTokens };
}

/** JSON-safe twin of a record. */
export type EncodedRecord = Omit<ExplainRecord, "view"> & { view: Omit<PackedView, "numbers"> & { numbers: number[] } };

export function encodeRecord(record: ExplainRecord): EncodedRecord {
  return { ...record, view: { ...record.view, numbers: [...record.view.numbers] } };
}

/** Of what `encodeRecord` made; JSON from elsewhere is parsed at the door first. */
export function decodeRecord(encoded: EncodedRecord): ExplainRecord {
  const now = encoded.view.transfers === undefined ? fromBeforeTiers(encoded) : encoded;
  return { ...now, view: { ...now.view, numbers: Float64Array.from(now.view.numbers) } };
}

/** A row from before tiers and transfers were weighed, in today's shape: all that was held counted as on the device, and it decides the same. */
function fromBeforeTiers(encoded: EncodedRecord): EncodedRecord {
  const { view, profile, decision, outcome } = encoded;
  const none = view.names.map(() => false);
  const numbers = view.names.flatMap((_name, row) => {
    const old = view.numbers.slice(row * 10, row * 10 + 10);
    const held = old[2] ?? 0;
    return [...old.slice(0, 9), held, held, old[9] ?? 0, 0, 0];
  });
  return {
    ...encoded,
    view: { ...view, numbers, prefills: none, transfers: none, remotePrefillTokens: null },
    profile: { ...profile, weights: { ...NOTHING, ...profile.weights } },
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

/** A kept record as its own tenant is shown it: the candidates with all their numbers, without what is only kept to decide again. */
export function tell(encoded: EncodedRecord): object {
  const record = decodeRecord(encoded);
  const { tenant: _tenant, view: _view, ...told } = record;
  return { ...told, candidates: replay(record).candidates };
}
