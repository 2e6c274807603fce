/**
 * The last decisions in memory, fair to tenants: where room is short, the tenant with the most records gives one up. Whoever has
 * at most `LAST` therefore keeps them all while others flood. What a request needs while it runs outlives its record.
 */
import { compactView, expandView } from "./compact-view.ts";
import type { CompactRecord, DecisionOutcome, ExplainRecord, RunningDecision } from "./record.ts";
import { batchOf, recordsOf, type RecordBatch } from "./record-batch.ts";
import { firstOf, LAST, type RingEntry, TenantRecords } from "./tenant-records.ts";

interface RingLimits {
  records: number;
  /** As `bytesOf` estimates them. */
  bytes: number;
  tenants: number;
  /** Requests that run without a record: as many as may have a lease (src/pool/lease-book.ts). */
  running: number;
  /** Requests that have ended and have no record any more: an edge that never got an answer asks again within 10 s. */
  ended: number;
}

const LIMITS: RingLimits = { records: 8_192, bytes: 16 * 1024 * 1024, tenants: 256, running: 8_192, ended: 4_096 };

/** Of a record without its view: ids, reason, outcome and the objects around them. */
const RECORD_BYTES = 1_000;
/** Of one candidate as it was decided: 27 doubles, and a name and four flags in arrays. */
const CANDIDATE_BYTES = 256;

/** Records on their way into a row of storage; give it to `written` when they are there. */
interface RingBatch extends RecordBatch {
  entries: readonly RingEntry[];
  /** Of them, those that were in no row. */
  fresh: number;
}

export class ExplainRing {
  readonly #limits: RingLimits;
  /** By request id: its attempts, first one first. */
  readonly #attempts = new Map<string, RingEntry[]>();
  /** By tenant; the one that decided last is the last. */
  readonly #byTenant = new Map<string, TenantRecords>();
  readonly #unwritten = new Set<RingEntry>();
  /** As they were decided and not yet compact, oldest first. */
  readonly #large = new Set<RingEntry>();
  /** Without a record, oldest first. */
  readonly #running = new Set<RingEntry>();
  readonly #ended = new Set<RingEntry>();
  #size = 0;
  #bytes = 0;
  #added = 0;
  #decided = 0;

  constructor(limits: Partial<RingLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  /** Records. */
  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts what was ever added. */
  get decided(): number {
    return this.#decided;
  }

  /** Records that were added or completed since they were last written. */
  get unwritten(): number {
    return this.#unwritten.size;
  }

  add(record: ExplainRecord): void {
    this.#decided++;
    const entry = this.#insert(record, { running: record.outcome.ended === null, row: null });
    if (entry.record !== null) this.#unwritten.add(entry);
  }

  /** Of a request's attempts the one given, else the last. */
  get(id: string, attempt?: number): RunningDecision | undefined {
    const attempts = this.#attempts.get(id);
    return (attempt === undefined ? attempts?.at(-1) : attempts?.find(({ known }) => known.attempt === attempt))?.known;
  }

  /** Fills in what came of it; false when nothing is known of it any more. */
  complete(id: string, attempt: number, outcome: Partial<DecisionOutcome>): boolean {
    const entry = this.#attempts.get(id)?.find(({ known }) => known.attempt === attempt);
    if (entry === undefined) return false;
    entry.known.outcome = { ...entry.known.outcome, ...outcome };
    if (entry.record !== null) this.#unwritten.add(entry);
    if (entry.running && entry.known.outcome.ended !== null) {
      entry.running = false;
      if (entry.record !== null) this.#byTenant.get(entry.known.tenant)?.ended(entry);
      else this.#remember(entry);
    }
    return true;
  }

  /** A tenant's attempts at a request of which the records are kept, first one first. */
  attempts(id: string, tenant: string): ExplainRecord[] {
    const entries = this.#attempts.get(id) ?? [];
    return entries.flatMap(({ known, record }) => (record === null || known.tenant !== tenant ? [] : [asDecided(record)]));
  }

  /** A tenant's last records, newest first. */
  *lastOf(tenant: string): Generator<CompactRecord> {
    const entries = [...(this.#byTenant.get(tenant)?.entries() ?? [])].sort((one, other) => other.number - one.number);
    for (const { record } of entries) if (record !== null) yield compact(record);
  }

  /** The next of those unwritten, and what is kept of those that lie in `row`, which is about to be overwritten; null when there are none. */
  batch(row: number, mostBytes: number): RingBatch | null {
    const entries: RingEntry[] = [];
    for (const records of this.#byTenant.values()) for (const entry of records.entries()) if (entry.row === row) entries.push(entry);
    const moved = new Set(entries);
    for (const entry of this.#unwritten) if (!moved.has(entry)) entries.push(entry);
    if (entries.length === 0) return null;
    const { heads, views, count } = batchOf(this.#compacted(entries), mostBytes);
    const taken = entries.slice(0, count);
    return { heads, views, entries: taken, fresh: taken.filter((entry) => this.#unwritten.has(entry)).length };
  }

  /** The batch lies in `row`, and nothing else does. Call it in the same turn as `batch`. */
  written(row: number, { entries }: RingBatch): void {
    for (const records of this.#byTenant.values())
      for (const entry of records.entries())
        if (entry.row === row) {
          entry.row = null;
          this.#unwritten.add(entry);
        }
    for (const entry of entries) {
      entry.row = row;
      this.#unwritten.delete(entry);
    }
  }

  /** Takes back what lies in rows, given in the order in which they were written. Call it before anything is added. */
  restore(rows: Iterable<{ row: number; batch: RecordBatch }>): void {
    for (const { row, batch } of rows) {
      // What ran then counts as ended: nobody may ever report of it.
      for (const record of recordsOf(batch)) this.#insert(record, { running: false, row });
    }
    // A record that was completed, or moved because its row was overwritten, lies in a later row than others decided after it.
    for (const records of this.#byTenant.values()) {
      const entries = [...records.entries()].sort((one, other) => one.known.decidedAtMs - other.known.decidedAtMs);
      for (const entry of entries) records.remove(entry);
      for (const entry of entries) {
        entry.number = ++this.#added;
        records.add(entry);
      }
    }
  }

  #insert(record: ExplainRecord | CompactRecord, where: { running: boolean; row: number | null }): RingEntry {
    const { id, attempt, tenant } = record;
    const before = this.#attempts.get(id)?.find(({ known }) => known.attempt === attempt);
    if (before !== undefined) this.#forget(before);
    const entry: RingEntry = { known: record, record, number: ++this.#added, bytes: bytesOf(record), part: null, ...where };
    const attempts = this.#attempts.get(id);
    this.#attempts.set(
      id,
      attempts === undefined ? [entry] : [...attempts, entry].sort((one, other) => one.known.attempt - other.known.attempt),
    );
    const records = this.#byTenant.get(tenant) ?? new TenantRecords();
    this.#byTenant.delete(tenant);
    this.#byTenant.set(tenant, records);
    records.add(entry);
    this.#size++;
    this.#bytes += entry.bytes;
    if (!isCompact(record)) this.#large.add(entry);
    this.#makeRoom();
    return entry;
  }

  #makeRoom(): void {
    const { tenants, records, bytes } = this.#limits;
    if (this.#byTenant.size > tenants) {
      const [oldest] = this.#byTenant.values();
      for (const entry of oldest?.entries() ?? []) this.#drop(entry);
    }
    while (this.#size > records || (this.#bytes > bytes && this.#size > 1)) {
      let fullest: TenantRecords | undefined;
      for (const each of this.#byTenant.values()) if (each.size > (fullest?.size ?? 0)) fullest = each;
      // A flood is cut before time is spent on its records; what many tenants have that want no more than their last is made smaller first.
      const large = this.#size <= records && (fullest?.size ?? 0) <= 2 * LAST ? firstOf(this.#large) : undefined;
      const victim = fullest?.leastWanted();
      if (large !== undefined) this.#compact(large);
      else if (victim !== undefined) this.#drop(victim);
      else return;
    }
  }

  /** Its record goes; what a running request needs stays. */
  #drop(entry: RingEntry): void {
    this.#unshelve(entry);
    const { id, attempt, tenant, decidedAtMs, request, seenTokens, outcome } = entry.known;
    entry.known = { id, attempt, tenant, decidedAtMs, request, outcome, ...(seenTokens === undefined ? {} : { seenTokens }) };
    this.#remember(entry);
  }

  #remember(entry: RingEntry): void {
    const [into, most] = entry.running ? [this.#running, this.#limits.running] : [this.#ended, this.#limits.ended];
    entry.part?.delete(entry);
    entry.part = into.add(entry);
    const oldest = into.size > most ? firstOf(into) : undefined;
    if (oldest !== undefined) this.#forget(oldest);
  }

  #forget(entry: RingEntry): void {
    if (entry.record !== null) this.#unshelve(entry);
    entry.part?.delete(entry);
    entry.part = null;
    const { id } = entry.known;
    const others = (this.#attempts.get(id) ?? []).filter((other) => other !== entry);
    if (others.length === 0) this.#attempts.delete(id);
    else this.#attempts.set(id, others);
  }

  #unshelve(entry: RingEntry): void {
    const { tenant } = entry.known;
    const records = this.#byTenant.get(tenant);
    records?.remove(entry);
    if (records?.size === 0) this.#byTenant.delete(tenant);
    this.#size--;
    this.#bytes -= entry.bytes;
    this.#unwritten.delete(entry);
    this.#large.delete(entry);
    entry.record = null;
    entry.row = null;
  }

  *#compacted(entries: Iterable<RingEntry>): Generator<CompactRecord> {
    for (const entry of entries) {
      const record = this.#compact(entry);
      if (record !== null) yield record;
    }
  }

  #compact(entry: RingEntry): CompactRecord | null {
    if (entry.record === null || isCompact(entry.record)) return entry.record;
    const record = compact(entry.record);
    entry.record = record;
    entry.known = record;
    this.#large.delete(entry);
    this.#bytes -= entry.bytes;
    entry.bytes = bytesOf(record);
    this.#bytes += entry.bytes;
    return record;
  }
}

const isCompact = (record: ExplainRecord | CompactRecord): record is CompactRecord => "bytes" in record.view;

function compact(record: ExplainRecord | CompactRecord): CompactRecord {
  return isCompact(record) ? record : { ...record, view: compactView(record.view) };
}

function asDecided(record: ExplainRecord | CompactRecord): ExplainRecord {
  return isCompact(record) ? { ...record, view: expandView(record.view) } : record;
}

function bytesOf(record: ExplainRecord | CompactRecord): number {
  return RECORD_BYTES + (isCompact(record) ? record.view.bytes.length : record.view.names.length * CANDIDATE_BYTES);
}
