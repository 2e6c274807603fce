/** What an edge asks a pool and what it is answered, and what the pool puts under signatures. */
import type { Priority } from "../pool/waiting-line.ts";
import type { PoolCard } from "./card.ts";

export interface FailedAttempt {
  replica: string;
  attempt: number;
  /** In which life of the replica; absent: in the one that the pool knew then. */
  epoch?: number | undefined;
  /** That life is over, by the replica's own word. */
  replaced?: boolean | undefined;
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
  /** The path, and the body that the replica gets there: its length, and its digest (wire/admission.ts). */
  path: string;
  bodyBytes: number;
  digest: string;
  /** Pool clock. Kept over renewals, so that nobody loses the place in line. */
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
  /** Attempts that came to nothing, oldest first: their leases end and their replicas are not asked again for a while (exclusion.ts). */
  failed?: FailedAttempt[];
  /** Replicas whose answers to other requests came to their end at this edge since it asked last. At most 64. */
  answered?: AnsweredBy[];
}

/** A life of a replica. */
export interface AnsweredBy {
  replica: string;
  epoch: number;
}

/** A request as an edge asks it: in durations, as the clocks of two machines may be an hour apart. */
export interface Ask extends Omit<DecideRequest, "arrivedAtMs" | "deadlineMs"> {
  /** Since it came to the edge, ms. */
  waitedMs: number;
  /** From now on: after this its first token is worthless, ms; negative: it is already. */
  withinMs?: number | undefined;
}

/** Longer than anybody waits, and than any deadline, ms. */
const MOST_DURATION_MS = 600_000;

/** On the pool's clock. Durations are bounded, and those that are no numbers are as if they had not been given. */
export function onPoolClock({ waitedMs, withinMs, ...request }: Ask, nowMs: number): DecideRequest {
  const waited = Number.isFinite(waitedMs) ? Math.min(MOST_DURATION_MS, Math.max(0, waitedMs)) : 0;
  const asked = { ...request, arrivedAtMs: nowMs - waited };
  if (withinMs === undefined || !Number.isFinite(withinMs)) return asked;
  return { ...asked, deadlineMs: nowMs + Math.min(MOST_DURATION_MS, Math.max(-MOST_DURATION_MS, withinMs)) };
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
  /** Of the replica: another life of it has not this admission's key. */
  epoch: number;
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

/** Whom an answer is for: what the call gave that asked. The pool hands it back and never calls it. */
export type AnswerTo = (answer: DecideAnswer) => void;

/** An answer to a call that was held. */
export interface Answered {
  to: AnswerTo;
  answer: DecideAnswer;
}

export interface AdmissionClaims {
  id: string;
  attempt: number;
  salt: string;
  path: string;
  bodyBytes: number;
  digest: string;
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
  /** As the admission's. */
  digest: string;
}
