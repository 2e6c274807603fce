/** From a request to a replica: look up, predict, choose and lease in one turn; wait in line when all are full. */
import { type LeaseKey } from "../pool/lease.ts";
import { liveKvTokens } from "../pool/load.ts";
import type { Replica } from "../pool/replica.ts";
import { decide } from "./decide.ts";
import type { CandidateView, PoolView, Profile, RequestView } from "./decision.ts";
import { explain } from "./explain.ts";
import type { PoolCard, PoolState } from "./pool-state.ts";

export type { PoolCard } from "./pool-state.ts";

/** A replica that takes the request has 5 s to do so (facts: lease.ts), its admission a little longer. */
const ADMISSION_LIVES_MS = 15_000;

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
  /** What binds the requests of one conversation, as the client said it; null when it said nothing. Not looked at yet. */
  session?: string | null;
  /** Attempts that came to nothing, oldest first: their leases end and their replicas are not asked again at once. */
  failed?: FailedAttempt[];
}

export type DecideAnswer =
  | { type: "replica"; replica: string; url: string; attempt: number; admission: string; cachedTokens: number }
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

export interface DispatcherOptions {
  profile: Profile;
  /** In [0, 1). */
  random(): number;
  /** The admission as text, under the key of this replica's epoch; null when the replica has no key. */
  mint(replica: Replica, claims: AdmissionClaims): string | null;
}

interface Held {
  request: DecideRequest;
  answer(answer: DecideAnswer): void;
}

export class Dispatcher {
  readonly #state: PoolState;
  readonly #options: DispatcherOptions;
  /** Callers that hold a call open, by request id. */
  readonly #held = new Map<string, Held>();
  #turn = 0;

  constructor(state: PoolState, options: DispatcherOptions) {
    this.#state = state;
    this.#options = options;
  }

  /** Null: the request waits in line; `answer` is called as soon as a replica is free, or `waitedEnough` ends the call. */
  decide(request: DecideRequest, nowMs: number, answer: (answer: DecideAnswer) => void): DecideAnswer | null {
    for (const { attempt } of request.failed ?? []) this.release({ id: request.id, attempt }, nowMs);
    const { line, counters } = this.#state;
    // Nobody overtakes those who wait.
    if (line.length === 0) {
      const placed = this.#place(request, nowMs, true);
      if (placed !== null) return placed;
    }
    const entered = line.enter(request.id, request.arrivedAtMs, nowMs);
    if (entered.kind === "refused") {
      counters.refused++;
      return { type: "refused", message: `The fleet is full: ${entered.reason}. Try again shortly.`, retryAfterSeconds: 2 };
    }
    counters.waited++;
    this.#held.set(request.id, { request, answer });
    this.dispatchWaiting(nowMs);
    return null;
  }

  /** The hold of the call that gave `answer` is over; its place in line stays for as long as it renews. A later call's hold goes on. */
  waitedEnough(id: string, answer: (answer: DecideAnswer) => void): DecideAnswer {
    if (this.#held.get(id)?.answer === answer) this.#held.delete(id);
    return { type: "waiting", position: this.#state.line.position(id) ?? 0, retryWithinMs: 5_000 };
  }

  leave(id: string): void {
    this.#held.delete(id);
    this.#state.line.drop(id);
  }

  release(key: LeaseKey, nowMs: number): void {
    const ended = this.#state.leases.release(key, nowMs);
    if (ended.kind !== "ended") return;
    this.#state.counters.released++;
    this.#state.ring.complete(key.id, key.attempt, { ended: "released" });
  }

  /** Places as many as fit, first come first. Call whenever capacity may have come free. */
  dispatchWaiting(nowMs: number): void {
    const { line } = this.#state;
    for (const claim of line.heads(line.length)) {
      const held = this.#held.get(claim.id);
      // Between two calls of its edge nobody listens; its place stays.
      if (held === undefined) continue;
      const placed = this.#place(held.request, nowMs, false);
      if (placed === null) return;
      line.take(claim.id);
      this.#held.delete(claim.id);
      held.answer(placed);
    }
  }

  get waiting(): number {
    return this.#state.line.length;
  }

  #place(request: DecideRequest, nowMs: number, exclude: boolean): DecideAnswer | null {
    const state = this.#state;
    const failed = request.failed ?? [];
    const excluded = exclude ? failed.flatMap(({ replica }) => state.named(replica)?.slot ?? []) : [];
    const promptTokens = state.rates.promptTokens(request.promptBytes);
    const seen: RequestView = { promptTokens, promptBytes: request.promptBytes, segments: request.chain.length, excluded };
    const view = this.#view(request.chain);
    const draw = this.#options.random();
    const turn = this.#turn;
    const decision = decide(view, seen, this.#options.profile, draw, turn);
    const chosen = decision.chosen === null ? undefined : decision.candidates[decision.chosen];
    const replica = chosen === undefined ? undefined : state.replica(chosen.replica);
    if (chosen === undefined || replica === undefined) return null;
    const attempt = this.#nextAttempt(request, nowMs);
    const { id, tenant, salt, bodyBytes } = request;
    const tip = request.chain.at(-1);
    const claims = {
      id,
      attempt,
      salt,
      bodyBytes,
      chainTip: tip === undefined ? "" : tip.toString(16),
      expiresAtMs: nowMs + ADMISSION_LIVES_MS,
    };
    const admission = this.#options.mint(replica, claims);
    if (admission === null) return null;
    const predictedMs = chosen.terms.prefillMs;
    const reserved = state.leases.reserve({
      id,
      attempt,
      replica: replica.slot,
      nowMs,
      promptTokens,
      uncachedTokens: chosen.uncachedTokens,
      predictedMs,
      salt,
    });
    if (reserved.kind === "refused") return null;
    this.#turn++;
    state.ring.add(
      explain({ id, attempt, tenant, decidedAtMs: nowMs, view, request: seen, profile: this.#options.profile, draw, turn, decision }),
    );
    const { counters } = state;
    counters.decisions++;
    counters.predictedCachedTokens += chosen.cachedTokens;
    if (attempt > 1) counters.retries++;
    return { type: "replica", replica: replica.name, url: replica.url, attempt, admission, cachedTokens: chosen.cachedTokens };
  }

  /** One more than the last. An attempt that the edge does not name as failed is one whose answer it never got: its lease ends. */
  #nextAttempt({ id, failed }: DecideRequest, nowMs: number): number {
    const known = this.#state.ring.get(id)?.attempt ?? 0;
    const named = failed?.at(-1)?.attempt ?? 0;
    if (known > named) this.release({ id, attempt: known }, nowMs);
    return Math.max(known, named) + 1;
  }

  #view(chain: BigUint64Array): PoolView {
    const { index, leases, rates, membership } = this.#state;
    const overlap = index.overlap(chain);
    const candidates = membership.replicas.map((replica): CandidateView => {
      const { slot, name, capacity } = replica;
      const load = leases.load(slot);
      return {
        replica: slot,
        name,
        overlapSegments: overlap.segments[slot] ?? 0,
        cachedTokens: overlap.tokens[slot] ?? 0,
        inFlight: load.inFlight,
        queuedPrefillMs: load.queuedPrefillMs,
        liveKvTokens: liveKvTokens(load),
        kvTokens: capacity.kvTokens,
        sequences: capacity.sequences,
        queueLimit: capacity.queueLimit,
        rates: { prefillMsPerToken: rates.prefillMsPerToken(slot) },
        eligible: replica.state === "ready",
      };
    });
    return { candidates, meanOutputTokens: rates.meanOutputTokens };
  }
}
