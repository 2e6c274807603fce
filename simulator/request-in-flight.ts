/** One request of a fleet between its arrival and its end, and how its attempts are named. */
import type { TransferReport } from "../src/pool/frames.ts";
import type { PlannedRequest } from "./plan.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";

export interface FleetOptions {
  /** From the edge to the pool that decides, and back, ms. */
  bookingMs: number;
  /** From the edge to any replica and back, ms. */
  rttMs: number;
  /** A client gives up when it has no first token after this many ms; null: never. */
  patienceMs: number | null;
  /** The TPOT that clients ask for, ms; null: none. Peers do not read it. */
  tpotMs: number | null;
  /** Number of sessions at once: the next session begins when one has ended. Null: each begins at its own time. */
  sessionsAtOnce: number | null;
}

/** One request on its way. */
export interface RequestInFlight {
  request: PlannedRequest;
  arrivedAtMs: number;
  failed: { replica: number; attempt: number }[];
  /** The attempt that runs now; null while the request waits for a decision. */
  at: { replica: SimulatedReplica; attempt: number; source: SimulatedReplica | null; loads: boolean } | null;
  transfer: TransferReport | null;
  hasFirstToken: boolean;
  /** Between its edge and its replica and back, ms. */
  rttMs: number;
  /** Prompt tokens that the replica that prefilled for it did not compute. */
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

/** The lease that an engine key belongs to. */
export function leaseOf(key: string): { id: string; attempt: number } {
  const [id = "", attempt = ""] = key.split(" ");
  return { id, attempt: Number(attempt) };
}
