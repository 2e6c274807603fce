/**
 * What happens in one pool, as it happens: for whoever counts it, keeps it or shows it. The pool's own thinking writes events and no
 * figures. Subscribers hear of each event at once and in order, and change nothing that the pool decides by.
 */
import type { DecisionOutcome, ExplainRecord } from "../explain/record.ts";
import type { TransferReport } from "../pool/frames.ts";
import type { ReuseInSight } from "../explain/funnel.ts";
import type { LeaseKey } from "../pool/lease.ts";
import type { Replica } from "../pool/replica.ts";
import type { ReplicaAnswer } from "./question.ts";

export type PoolEvent =
  /** A new life of a replica is here. */
  | { kind: "joined"; replica: Replica }
  /** It was not heard of lately, or its socket closed. */
  | { kind: "suspect"; replica: Replica; reason: string }
  /** It is forgotten, with all that it held. */
  | { kind: "lost"; replica: Replica; reason: string }
  /** It is asked to announce again: all after this sequence number; null: everything. */
  | { kind: "resync"; slot: number; afterSeq: number | null }
  /** A request entered the line, or its edge renewed its place there. */
  | { kind: "waiting"; id: string }
  | { kind: "refused"; id: string }
  /** It was decided, and a lease was made. `sight`: null where the funnel does not count it; `retries`: a replica failed it before. */
  | { kind: "placed"; answer: ReplicaAnswer; record: ExplainRecord; sight: ReuseInSight | null; retries: boolean }
  /** A first token came that was predicted; both since the lease, ms. */
  | { kind: "firstToken"; slot: number; predictedMs: number; tookMs: number }
  /** Its replica reported the first token of a request whose record is known. */
  | { kind: "decoding"; key: LeaseKey; outcome: Partial<DecisionOutcome> }
  /** As its receiver reported it. */
  | { kind: "transferred"; key: LeaseKey; transfer: TransferReport }
  /** It ended with usage; of a request, not of a prefill for another replica. */
  | { kind: "settled"; key: LeaseKey; promptTokens: number; cachedTokens: number; outputTokens: number }
  /** A lease was given back by the edge, or refused by its replica. */
  | { kind: "released"; key: LeaseKey; by: "edge" | "replica" }
  /** A lease ended without a word: its time ran out, or its replica no longer names it. */
  | { kind: "expired"; key: LeaseKey; cause: "time" | "unnamed" }
  /** An edge says that the replica failed an attempt. */
  | { kind: "failed"; slot: number; id: string }
  /** It gets nothing for a while because it failed every request. */
  | { kind: "leftOut"; slot: number; failures: number; pauseMs: number }
  /** A report of a lease that its replica does not have. */
  | { kind: "strayReport"; slot: number; key: LeaseKey }
  /** A report with a number that can't be. */
  | { kind: "cutReport"; slot: number; key: LeaseKey }
  /** Written for the checkpoint so far. */
  | { kind: "checkpointed"; rows: number; bytes: number };

export type PoolListener = (event: PoolEvent) => void;

export class PoolEvents {
  readonly #listeners = new Set<PoolListener>();

  /** The function that ends the subscription. */
  subscribe(listener: PoolListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(event: PoolEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
