import type { TransferOutcome } from "../src/explain/record.ts";
import type { PlannedRequest } from "./plan.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";

export interface FleetOptions {
  /** To the decision and back. */
  bookingMs: number;
  /** From the edge to any replica and back. */
  rttMs: number;
  /** A client gives up when it has no first token after so long; null: never. */
  patienceMs: number | null;
  /** Clients say how often they want tokens, ms; null: they do not. Peers have no ear for it. */
  tpotMs: number | null;
  /** Closed loops: so many first requests of sessions at once, the next begins when one session has ended; null: all when their time comes. */
  sessionsAtOnce: number | null;
}

/** One request on its way. */
export interface Going {
  request: PlannedRequest;
  arrivedAtMs: number;
  failed: { replica: number; attempt: number }[];
  /** Where it is now; null while it waits for a decision. */
  at: { replica: SimulatedReplica; attempt: number; source: SimulatedReplica | null; loads: boolean } | null;
  transfer: TransferOutcome | null;
  hasFirstToken: boolean;
  /** Between its edge and its replica. */
  rttMs: number;
  /** Of its prompt, what the replica that prefilled for it did not compute. */
  cachedElsewhere: number;
}

/** As the product names the lease on a replica that prefills for another (pool/lease.ts). */
const PREFILL = "~prefill";

/** Names an attempt in an engine. */
export function jobKey({ id }: PlannedRequest, attempt: number): string {
  return `${id} ${attempt}`;
}

/** The same for the replica that prefills for it. */
export function prefillKey({ id }: PlannedRequest, attempt: number): string {
  return `${id}${PREFILL} ${attempt}`;
}

export function isPrefillKey(key: string): boolean {
  return key.includes(PREFILL);
}

/** How its lease is named. */
export function leaseOf(key: string): { id: string; attempt: number } {
  const [id = "", attempt = ""] = key.split(" ");
  return { id, attempt: Number(attempt) };
}
