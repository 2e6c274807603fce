/** From a request to a replica: look up, predict, choose and lease in one turn, or wait in line until a replica will soon start it. */
import { type LeaseKey, prefillLease } from "../pool/lease.ts";
import { decide } from "../decision/decide.ts";
import type { Profile } from "../decision/decision.ts";
import { hasReplicaFor, noteAnswered, noteFailure } from "./exclusion.ts";
import { explain } from "../explain/record.ts";
import { firstTokenMs } from "../decision/first-token.ts";
import { IdleWatch } from "./idle-watch.ts";
import { headsOf } from "./line-heads.ts";
import { learnPlaced, watchReuse } from "./learn-placed.ts";
import { leastWorkMs, LinePlan, type Waiter } from "./line-plan.ts";
import type { PoolState } from "./state.ts";
import { type Holdings, holdingsOf, viewFor } from "./view.ts";
import type { Answered, AnswerTo, DecideAnswer, DecideRequest, FailedAttempt } from "./question.ts";
import { cannotMake, drained, knownTooLate, outlookOf, refusalOf, refused, tooLate } from "./refusal.ts";
import { isProbablyTooLong, requestView } from "./request-view.ts";
import { type Minter, reserve } from "./reservation.ts";
import { shouldWait, freeReplicas } from "./free-replicas.ts";
import { couldPull } from "../decision/transfer-cost.ts";

export type { PoolCard } from "./state.ts";
export type * from "./question.ts";

export interface DispatcherOptions extends Minter {
  profile: Profile;
  /** In [0, 1). */
  random(): number;
}

/** The line is planned anew after so many of one planning's leases; those after them go by the plan there is. */
const MOST_REPLANNED = 8;
/** A plan knows nothing of transfers and keys: so many that it was wrong about end it. */
const MOST_MISSES = 8;
/** What a waiter's prompt is known to be held by is looked up again after this. A lease looks again in any case. */
const LOOK_AGAIN_MS = 250;

interface Held {
  request: DecideRequest;
  to: AnswerTo;
  holdings: Holdings;
  lookedAtMs: number;
}

interface LeasedAnswer {
  answer: DecideAnswer;
  /** Slots with a new lease. */
  slots: number[];
}

export class Dispatcher {
  readonly #state: PoolState;
  readonly #options: DispatcherOptions;
  /** Callers that hold a call open, by request id. */
  readonly #held = new Map<string, Held>();
  #turn = 0;
  /** What the line was planned for last. */
  #planned: unknown[] = [];
  readonly #idle = new IdleWatch();

  constructor(state: PoolState, options: DispatcherOptions) {
    this.#state = state;
    this.#options = options;
  }

  /** Null: the request waits in line, until `dispatchWaiting` answers it or `waitedEnough` ends the call. */
  decide(request: DecideRequest, nowMs: number, to: AnswerTo): DecideAnswer | null {
    noteAnswered(this.#state, request.answered ?? []);
    for (const failed of request.failed ?? []) this.#failed(request.id, failed, nowMs);
    if (request.elsewhere === true && !hasReplicaFor(this.#state, request, nowMs)) {
      return { type: "refused", message: "No replica of this pool can take it now.", retryAfterSeconds: 1 };
    }
    const { line, events } = this.#state;
    // Nobody overtakes those who wait, unless it is the line that lets them, or it will not be computed.
    if (line.length === 0 || isProbablyTooLong(this.#state, request)) {
      const placed = this.#place(request, null, nowMs);
      if (placed !== null) return placed.answer;
    }
    const holdings = holdingsOf(this.#state, request.chain, nowMs);
    const refusal = this.#enter(request, holdings, nowMs);
    if (refusal !== null) {
      events.emit({ kind: "refused", id: request.id });
      return refusal;
    }
    events.emit({ kind: "waiting", id: request.id });
    this.#held.set(request.id, { request, to, holdings, lookedAtMs: nowMs });
    return null;
  }

  /** The hold of the call that gave `to` is over; its place in line stays for as long as it renews. A later call's hold goes on. */
  waitedEnough(id: string, to: AnswerTo): DecideAnswer {
    if (this.#held.get(id)?.to === to) this.#held.delete(id);
    return { type: "waiting", position: this.#state.line.position(id) ?? 0, retryWithinMs: 5_000 };
  }

  leave(id: string): void {
    this.#held.delete(id);
    this.#state.line.drop(id);
  }

  /** Its replica failed it: its lease ends, and the replica is nearer to being left out. Who began a new epoch has not failed. */
  #failed(id: string, failed: Pick<FailedAttempt, "attempt" | "replaced">, nowMs: number): void {
    if (failed.replaced !== true) noteFailure(this.#state, id, failed, nowMs);
    this.release({ id, attempt: failed.attempt }, nowMs);
  }

  /** Its replica failed it, and no other is asked. */
  fail(key: LeaseKey, nowMs: number): void {
    this.#failed(key.id, { attempt: key.attempt }, nowMs);
  }

  /** And the lease on the replica that prefills for it. */
  release(key: LeaseKey, nowMs: number): void {
    this.#state.leases.release(prefillLease(key), nowMs);
    const ended = this.#state.leases.release(key, nowMs);
    if (ended.kind !== "ended") return;
    this.#state.events.emit({ kind: "released", key, by: "edge" });
  }

  /** Sends whoever's turn it is (line-plan.ts). Call whenever anything has changed; it looks at nothing when nothing has. */
  dispatchWaiting(nowMs: number): Answered[] {
    const answers: Answered[] = [];
    const { line } = this.#state;
    if (line.length === 0) this.#idle.clear();
    else if (this.#state.isDrained) this.#refuseAll(answers);
    else if (this.#isNews(nowMs)) this.#dispatch(answers, nowMs);
    return answers;
  }

  #dispatch(answers: Answered[], nowMs: number): void {
    const waiters = this.#waiters(nowMs, answers);
    const plan = new LinePlan(this.#state, this.#options.profile, waiters, nowMs);
    this.#followPlan(plan, waiters, answers, nowMs);
    this.#serveIdle(plan, waiters, answers, nowMs);
    this.#isNews(nowMs);
  }

  #refuseAll(answers: Answered[]): void {
    for (const [id, { to }] of this.#held) {
      this.leave(id);
      this.#state.events.emit({ kind: "refused", id });
      answers.push({ to, answer: drained() });
    }
  }

  #followPlan(plan: LinePlan, waiters: readonly Waiter[], answers: Answered[], nowMs: number): void {
    let replans = MOST_REPLANNED;
    let misses = 0;
    for (let turn = plan.next(); turn !== null; turn = plan.next()) {
      const id = waiters[turn.waiter]?.claim.id ?? "";
      const held = this.#held.get(id);
      const placed = held === undefined ? null : this.#place(held.request, turn.plannedMs, nowMs);
      if (held === undefined || placed === null) {
        plan.kept();
        // What the plan believed of its prompt was old.
        if (held !== undefined) held.lookedAtMs = -Infinity;
        if (++misses === MOST_MISSES) break;
        continue;
      }
      this.#part(id, nowMs);
      answers.push({ to: held.to, answer: placed.answer });
      plan.sent(placed.slots, replans-- > 0);
    }
  }

  /** Whoever waits for a better place does not wait for it beside an idle replica: after a while that one gets whom it costs least. */
  #serveIdle(plan: LinePlan, waiters: readonly Waiter[], answers: Answered[], nowMs: number): void {
    const idle = freeReplicas(this.#state).flatMap(({ slot, isIdle }) => (isIdle ? [slot] : []));
    for (const slot of this.#idle.waited(idle, nowMs)) {
      for (const row of plan.takersOf(slot).slice(0, MOST_MISSES)) {
        const id = waiters[row]?.claim.id ?? "";
        const held = this.#held.get(id);
        const placed = held === undefined ? null : this.#place(held.request, plan.onlyOn(slot), nowMs, true);
        if (held === undefined || placed === null) continue;
        this.#part(id, nowMs);
        answers.push({ to: held.to, answer: placed.answer });
        plan.sentTo(row, placed.slots);
        break;
      }
    }
  }

  get waiting(): number {
    return this.#state.line.length;
  }

  /** Into the line; null when it is in, else why it is not. */
  #enter(request: DecideRequest, holdings: Holdings, nowMs: number): DecideAnswer | null {
    const state = this.#state;
    const { id, arrivedAtMs, priority = "normal", salt } = request;
    const workMs = leastWorkMs(state, this.#options.profile, requestView(state, request, nowMs), holdings, nowMs);
    if (state.line.position(id) === null) {
      const refusal = refusalOf(state, request, workMs, nowMs);
      if (refusal !== null) return refusal;
    }
    const entered = state.line.enter(id, arrivedAtMs, nowMs, { priority, salt, workMs });
    return entered.kind === "refused" ? refused(outlookOf(state, priority, workMs, nowMs), entered.reason) : null;
  }

  /** The first of the line that somebody listens for; between two calls of its edge nobody does, and its place stays. Those that come too late by now are answered. */
  #waiters(nowMs: number, answers: Answered[]): Waiter[] {
    const state = this.#state;
    const waiters: Waiter[] = [];
    for (const claim of headsOf(state, (id) => this.#held.get(id)?.request, nowMs)) {
      const held = this.#held.get(claim.id);
      if (held === undefined) continue;
      if (cannotMake(state, held.request, claim.workMs, nowMs)) {
        this.leave(claim.id);
        state.events.emit({ kind: "refused", id: claim.id });
        const answer = refused(outlookOf(state, claim.priority, claim.workMs, nowMs), "its first token would come after its deadline");
        answers.push({ to: held.to, answer });
        continue;
      }
      if (nowMs - held.lookedAtMs >= LOOK_AGAIN_MS) {
        held.holdings = holdingsOf(state, held.request.chain, nowMs);
        held.lookedAtMs = nowMs;
      }
      waiters.push({ claim, seen: requestView(state, held.request, nowMs), holdings: held.holdings });
    }
    return waiters;
  }

  #part(id: string, nowMs: number): void {
    this.#held.delete(id);
    this.#state.line.take(id, nowMs);
  }

  /** Whether anything that a plan depends on has changed since this was asked last. */
  #isNews(nowMs: number): boolean {
    const { leases, line, membership } = this.#state;
    const now = [leases.changes, line.changes, membership, Math.floor(nowMs / LOOK_AGAIN_MS), this.#held.size];
    const news = now.some((value, at) => value !== this.#planned[at]);
    this.#planned = now;
    return news;
  }

  /**
   * Null: it waits, nothing was leased.
   *
   * @param plannedMs by slot, of those before it in line; null when nobody is.
   * @param toIdle to an idle replica though it had rather waited: it is not held back for its plan, nor refused because of it.
   */
  #place(request: DecideRequest, plannedMs: ArrayLike<number> | null, nowMs: number, toIdle = false): LeasedAnswer | null {
    const state = this.#state;
    const { profile } = this.#options;
    const seen = requestView(state, request, nowMs);
    const view = viewFor(state, holdingsOf(state, request.chain, nowMs), plannedMs, nowMs);
    const draw = this.#options.random();
    const turn = this.#turn;
    const decision = decide(view, seen, profile, draw, turn);
    const chosen = decision.chosen === null ? undefined : decision.candidates[decision.chosen];
    const replica = chosen === undefined ? undefined : state.replica(chosen.replica);
    if (chosen === undefined || replica === undefined) return null;
    const { transfer } = decision;
    const mayWait = !toIdle && profile.holds === true && !isProbablyTooLong(state, request);
    if (mayWait && shouldWait(state, replica, chosen, transfer, nowMs)) return null;
    // Nobody is refused because a prefill ahead of it is overdue.
    const firstTokenInMs =
      firstTokenMs(chosen, transfer) -
      state.leases.prefills.overdueMs(transfer?.kind === "prefill" ? transfer.replica : replica.slot, nowMs);
    // It stays in line for its warm replica; that needs no evidence, a refusal does.
    if (toIdle && tooLate(request, firstTokenInMs, nowMs)) return null;
    if (knownTooLate(state, request, chosen, firstTokenInMs, nowMs)) {
      state.events.emit({ kind: "refused", id: request.id });
      const { priority = "normal" } = request;
      const answer = refused(outlookOf(state, priority, chosen.terms.prefillMs, nowMs), "its first token would come after its deadline");
      return { answer, slots: [] };
    }
    const attempt = this.#nextAttempt(request, nowMs);
    const trying = { request, attempt, promptTokens: seen.promptTokens, nowMs };
    const answer = reserve(state, this.#options, trying, { replica, chosen, transfer });
    if (answer === null) return null;
    this.#turn++;
    state.breaker.sent(replica.slot, replica.epoch, nowMs);
    const { id, tenant } = request;
    const { sight, ...seenBefore } = watchReuse(state, trying, decision);
    const known = { ...seenBefore, ...state.claims.doubt(replica), waitedMs: Math.max(0, nowMs - request.arrivedAtMs) };
    const record = explain({ id, attempt, tenant, decidedAtMs: nowMs, view, request: seen, profile, draw, turn, ...known, decision });
    learnPlaced(state, request, chosen, transfer === null && couldPull(view, chosen), plannedMs === null, nowMs);
    // An epoch that was replaced has not failed.
    const retries = request.failed?.some(({ replaced }) => replaced !== true) === true;
    state.events.emit({ kind: "placed", answer, record, sight, retries });
    return { answer, slots: answer.prefill === undefined || transfer === null ? [replica.slot] : [replica.slot, transfer.replica] };
  }

  /** One more than the last, and one that no lease was made for. An attempt that the edge does not name as failed is one whose answer it never got: its lease ends. */
  #nextAttempt({ id, failed }: DecideRequest, nowMs: number): number {
    const { ring, leases } = this.#state;
    const known = ring.get(id)?.attempt ?? 0;
    const named = failed?.at(-1)?.attempt ?? 0;
    if (known > named) this.release({ id, attempt: known }, nowMs);
    let attempt = Math.max(known, named) + 1;
    for (; leases.get({ id, attempt }) !== undefined; attempt++) this.release({ id, attempt }, nowMs);
    return attempt;
  }
}
