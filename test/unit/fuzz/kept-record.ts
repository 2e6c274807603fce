/** The record of a decision, as the pool has it in memory, and as it comes back from a row. */
import { decodeRecord, encodedOfRow, type ExplainRecord, rowOf } from "../../../src/routing/explain.ts";
import type { PoolState } from "../../../src/routing/pool-state.ts";
import type { Request } from "./edge.ts";

/** Of the request's last attempt; null: it is not kept. */
export function keptRecord({ ring }: PoolState, { id, attempt }: Request): ExplainRecord | null {
  return ring.get(id, attempt) ?? null;
}

export function readBack(record: ExplainRecord): ExplainRecord {
  return decodeRecord(encodedOfRow(rowOf(record)));
}
