/** A timed claim on a replica's capacity: its life, and what is known of it. */
import type { ChainedPrompt } from "./distinct-prompts.ts";
import type { LoadReading } from "./load.ts";

type LeaseState = "reserved" | "started" | "decoding" | "settled" | "released" | "expired";

/** One try at a request. */
export interface LeaseKey {
  id: string;
  attempt: number;
}

/** Ends the id of the lease that a request has on the replica that prefills for it. Ids that edges mint end in a hex digit. */
const PREFILL_SUFFIX = "~prefill";

/** The lease on another replica that prefills for this one; it lives and ends by that replica's own reports, and with this one. */
export function prefillLease({ id, attempt }: LeaseKey): LeaseKey {
  return { id: id + PREFILL_SUFFIX, attempt };
}

export function isPrefillLease({ id }: LeaseKey): boolean {
  return id.endsWith(PREFILL_SUFFIX);
}

export interface Reservation extends LeaseKey {
  /** Slot. */
  replica: number;
  /** Pool clock. */
  nowMs: number;
  promptTokens: number;
  /** Of these, what is new on the replica's device: computed, loaded from a lower tier or fetched. */
  uncachedTokens: number;
  /** Its own predicted prefill, loading and fetching included. */
  predictedMs: number;
  /** Tenant's salt, for the admission. */
  salt: string;
  /** Its first token is not this replica's work alone: another one computes its prompt, or none is reported. Absent: it is. */
  awaits?: boolean;
  /** Until its first token; absent where none comes, and on a replica that only prefills for it. */
  predicted?: PredictedFirstToken;
  /** Its prompt; absent where none is held in KV, and where the pool has forgotten it. */
  prompt?: ChainedPrompt;
}

/** A prediction that is held against what came, ms. */
export interface PredictedFirstToken {
  /** Queue, prefill and transfer added up. */
  workMs: number;
  /** What the client was predicted to wait. */
  firstTokenMs: number;
}

export interface Usage {
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
}

export interface Lease extends LeaseKey {
  replica: number;
  state: LeaseState;
  reservedAtMs: number;
  promptTokens: number;
  uncachedTokens: number;
  predictedMs: number;
  salt: string;
  awaits: boolean;
  predicted?: PredictedFirstToken;
  prompt?: ChainedPrompt;
  /** Last reported. */
  outputTokens: number;
  /** When the first token was reported, pool clock; null before. */
  firstTokenAtMs: number | null;
  /** What its replica's sums over time were then; null before. */
  firstTokenReading: LoadReading | null;
  /** Its first token was reported, perhaps after it had ended: what is said of it again teaches nothing. */
  firstTokenReported: boolean;
  omissions: number;
  /** Nobody has taken it up for long: its replica's load does not count it. */
  doubted: boolean;
  /** Its replica fell silent while it ran: what its steps took says nothing of the replica's pace. */
  interrupted: boolean;
  /** Its replica was lost then, pool clock; null while it is not. */
  lostAtMs: number | null;
  endedAtMs: number | null;
  usage: Usage | null;
  /** The edge has said that its replica failed it. */
  failed?: boolean;
}

export type ReserveOutcome =
  | { kind: "reserved"; lease: Lease }
  /** The same (id, attempt) came before, and its lease lives. Nothing changed. */
  | { kind: "repeated"; lease: Lease }
  /** The same (id, attempt) came before, and its lease has ended: there is none. */
  | { kind: "over"; lease: Lease }
  | { kind: "refused"; reason: string };

export type EndOutcome =
  | { kind: "ended"; lease: Lease }
  /** Usage came after the lease was released or had expired: charge it, capacity was freed before. */
  | { kind: "late"; lease: Lease }
  /** It ended before; nothing changed. */
  | { kind: "repeated"; lease: Lease }
  | { kind: "unknown" };
