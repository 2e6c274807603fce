/** What an edge asks a pool and what it is answered, and what the pool puts under signatures. */
import type { Priority } from "../pool/queue.ts";
import type { PoolCard } from "./pool-card.ts";

export interface FailedAttempt {
  replica: string;
  attempt: number;
}

export interface DecideRequest {
  /** Minted by the edge. */
  id: string;
  tenant: string;
  salt: string;
  /** Of the hash spec that `chain` was made with. */
  fingerprint: string;
  chain: BigUint64Array;
  promptBytes: number;
  bodyBytes: number;
  /** Kept over renewals, so that nobody loses the place in line. */
  arrivedAtMs: number;
  /** Absent: normal. */
  priority?: Priority | undefined;
  /** When its first token is worthless, pool clock; absent: never, but nobody waits longer than 90 s. */
  deadlineMs?: number | undefined;
  /** Its client wants tokens at least so often, ms: it is not sent where they would come more seldom, for its first ten seconds. */
  tpotMs?: number | undefined;
  /** What binds the requests of one conversation, as the client said it; null when it said nothing. */
  session?: string | null;
  /** Its tokens are counted and nothing more. */
  counts?: boolean;
  /** Another pool can take it: refused at once where no replica is ready for it, instead of waiting in line. */
  elsewhere?: boolean;
  /** Attempts that came to nothing, oldest first: their leases end and their replicas are not asked again at once. */
  failed?: FailedAttempt[];
}

/** Where the chosen replica gets blocks from, with the right to fetch them. */
export interface TransferSource {
  replica: string;
  url: string;
  ticket: string;
}

export interface ReplicaAnswer {
  type: "replica";
  replica: string;
  url: string;
  attempt: number;
  admission: string;
  /** Predicted: on its device, loaded or pulled. */
  cachedTokens: number;
  /** Whether it loads what it holds on lower tiers or computes it; absent: nothing is known to lie there, it decides itself. */
  load?: boolean;
  /** This replica prefills for it; at most one of the two is there. */
  prefill?: TransferSource;
  /** This replica holds `tokens` more of the prompt. */
  pull?: TransferSource & { tokens: number };
}

export type DecideAnswer =
  | ReplicaAnswer
  | { type: "waiting"; position: number; retryWithinMs: number }
  | { type: "refused"; message: string; retryAfterSeconds: number }
  | { type: "stale_card"; card: PoolCard };

export interface AdmissionClaims {
  id: string;
  attempt: number;
  salt: string;
  bodyBytes: number;
  chainTip: string;
  expiresAtMs: number;
}

export interface TicketClaims {
  /** The lease as the sender reports it. */
  id: string;
  attempt: number;
  salt: string;
  /** The sender's URL. */
  from: string;
  chainTip: string;
  expiresAtMs: number;
  kind: "prefill" | "pull";
}
