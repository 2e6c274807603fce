/** The record of a decision, as the pool has it in memory, and as it comes back from a row. */
import { compactView } from "../../../src/explain/compact-view.ts";
import { decodeRecord, encodedOfRow, type ExplainRecord, rowOf } from "../../../src/explain/record.ts";
import type { PoolState } from "../../../src/router/state.ts";
import type { Request } from "./edge.ts";

/** Of the request's last attempt; null: it is not kept. */
export function keptRecord({ ring }: PoolState, { id, attempt, question }: Request): ExplainRecord | null {
  return ring.attempts(id, question.tenant).find((record) => record.attempt === attempt) ?? null;
}

export function readBack(record: ExplainRecord): ExplainRecord {
  return decodeRecord(encodedOfRow(rowOf({ ...record, view: compactView(record.view) })));
}
