/** From a request to a replica: look up, predict, choose and lease in one turn; wait in line when all are full. */
import { type LeaseKey, prefillLease } from "../pool/lease.ts";
import { liveKvTokens } from "../pool/load.ts";
import { isReady, takesRequests } from "../pool/membership.ts";
import type { Replica } from "../pool/replica.ts";
import { decide } from "./decide.ts";
import type { CandidateView, Decision, PlannedTransfer, PoolView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { explain } from "./explain.ts";
import type { PoolState } from "./pool-state.ts";
import type { AdmissionClaims, DecideAnswer, DecideRequest, ReplicaAnswer, TicketClaims, TransferSource } from "./question.ts";

export type { PoolCard } from "./pool-state.ts";
export type * from "./question.ts";

/** A replica that takes the request has 5 s to do so (facts: lease.ts), its admission a little longer. */
const ADMISSION_LIVES_MS = 15_000;

export interface DispatcherOptions {
  profile: Profile;
  /** In [0, 1). */
  random(): number;
  /** The admission as text, under the key of this replica's epoch; null when the replica has no key. */
  mint(replica: Replica, claims: AdmissionClaims): string | null;
  /** The ticket as text, under the key of the replica that sends; null when it has no key. */
  mintTicket(sender: Replica, claims: TicketClaims): string | null;
}

/** One attempt at a request. */
interface Trying {
  request: DecideRequest;
  attempt: number;
  promptTokens: number;
  nowMs: number;
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

  /** And the lease on the replica that prefills for it. */
  release(key: LeaseKey, nowMs: number): void {
    this.#state.leases.release(prefillLease(key), nowMs);
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
    const { promptBytes, chain, counts = false } = request;
    const seen: RequestView = { promptTokens, promptBytes, segments: chain.length, excluded, ...(counts ? { counts } : {}) };
    const view = this.#view(chain);
    const draw = this.#options.random();
    const turn = this.#turn;
    const decision = decide(view, seen, this.#options.profile, draw, turn);
    const chosen = decision.chosen === null ? undefined : decision.candidates[decision.chosen];
    const replica = chosen === undefined ? undefined : state.replica(chosen.replica);
    if (chosen === undefined || replica === undefined) return null;
    const attempt = this.#nextAttempt(request, nowMs);
    const { id, tenant } = request;
    const answer = this.#reserve({ request, attempt, promptTokens, nowMs }, replica, chosen, decision.transfer);
    if (answer === null) return null;
    this.#turn++;
    const { profile } = this.#options;
    state.ring.add(explain({ id, attempt, tenant, decidedAtMs: nowMs, view, request: seen, profile, draw, turn, decision }));
    this.#count(answer);
    return answer;
  }

  /** Leases on the chosen replica and, for a remote prefill, on the one that prefills: both or, when the second can't be had, the first alone. */
  #reserve(trying: Trying, replica: Replica, chosen: ScoredCandidate, transfer: Decision["transfer"]): ReplicaAnswer | null {
    const { request, attempt, promptTokens, nowMs } = trying;
    const { id, salt, bodyBytes } = request;
    const expiresAtMs = nowMs + ADMISSION_LIVES_MS;
    const admission = this.#options.mint(replica, { id, attempt, salt, bodyBytes, chainTip: tipOf(request), expiresAtMs });
    if (admission === null) return null;
    const { terms, uncachedTokens, loadedTokens, deviceTokens } = chosen;
    const reserved = this.#state.leases.reserve({
      id,
      attempt,
      replica: replica.slot,
      nowMs,
      promptTokens,
      uncachedTokens: uncachedTokens + loadedTokens,
      predictedMs: transfer?.receiverMs ?? terms.prefillMs + terms.loadMs,
      salt,
    });
    if (reserved.kind === "refused") return null;
    const cachedTokens = deviceTokens + loadedTokens;
    const answer: ReplicaAnswer = { type: "replica", replica: replica.name, url: replica.url, attempt, admission, cachedTokens };
    const source = transfer === null ? null : this.#sourceOf(trying, transfer);
    if (transfer === null || source === null) return answer;
    if (transfer.kind === "prefill") return { ...answer, prefill: source };
    return { ...answer, cachedTokens: chosen.cachedTokens + transfer.tokens, pull: { ...source, tokens: transfer.tokens } };
  }

  #sourceOf({ request, attempt, promptTokens, nowMs }: Trying, transfer: PlannedTransfer): TransferSource | null {
    const { kind } = transfer;
    const sender = this.#state.replica(transfer.replica);
    if (sender === undefined) return null;
    const key = kind === "prefill" ? prefillLease({ id: request.id, attempt }) : { id: request.id, attempt };
    const claims = { ...key, salt: request.salt, from: sender.url, chainTip: tipOf(request), kind };
    const ticket = this.#options.mintTicket(sender, { ...claims, expiresAtMs: nowMs + ADMISSION_LIVES_MS });
    if (ticket === null) return null;
    if (kind === "prefill") {
      const reserved = this.#state.leases.reserve({
        ...key,
        replica: sender.slot,
        nowMs,
        promptTokens,
        uncachedTokens: transfer.senderNewTokens,
        predictedMs: transfer.senderWorkMs,
        salt: request.salt,
      });
      if (reserved.kind === "refused") return null;
    }
    return { replica: sender.name, url: sender.url, ticket };
  }

  #count({ cachedTokens, attempt, prefill, pull }: ReplicaAnswer): void {
    const { counters } = this.#state;
    counters.decisions++;
    counters.predictedCachedTokens += cachedTokens;
    if (attempt > 1) counters.retries++;
    if (prefill !== undefined) counters.remotePrefills++;
    if (pull !== undefined) counters.pulls++;
  }

  /** One more than the last. An attempt that the edge does not name as failed is one whose answer it never got: its lease ends. */
  #nextAttempt({ id, failed }: DecideRequest, nowMs: number): number {
    const known = this.#state.ring.get(id)?.attempt ?? 0;
    const named = failed?.at(-1)?.attempt ?? 0;
    if (known > named) this.release({ id, attempt: known }, nowMs);
    return Math.max(known, named) + 1;
  }

  #view(chain: BigUint64Array): PoolView {
    const { index, leases, rates, membership, remotePrefillTokens } = this.#state;
    const overlap = index.overlap(chain);
    const candidates = membership.replicas.map((replica): CandidateView => {
      const { slot, name, capacity } = replica;
      const load = leases.load(slot);
      return {
        replica: slot,
        name,
        overlapSegments: overlap.segments[slot] ?? 0,
        cachedTokens: overlap.tokens[slot] ?? 0,
        deviceTokens: overlap.deviceTokens[slot] ?? 0,
        memoryTokens: overlap.memoryTokens[slot] ?? 0,
        inFlight: load.inFlight,
        queuedPrefillMs: load.queuedPrefillMs,
        liveKvTokens: liveKvTokens(load),
        kvTokens: capacity.kvTokens,
        sequences: capacity.sequences,
        queueLimit: capacity.queueLimit,
        rates: {
          prefillMsPerToken: rates.prefillMsPerToken(slot),
          loadMsPerToken: rates.loadMsPerToken(slot),
          transferMsPerToken: rates.transferMsPerToken(slot),
        },
        eligible: takesRequests(replica),
        prefills: isReady(replica) && !replica.roles.includes("decode"),
        // Whoever has one role only lives by it.
        transfers: replica.transfers ?? replica.roles.length === 1,
      };
    });
    return { candidates, meanOutputTokens: rates.meanOutputTokens, remotePrefillTokens };
  }
}

function tipOf({ chain }: DecideRequest): string {
  return chain.at(-1)?.toString(16) ?? "";
}
