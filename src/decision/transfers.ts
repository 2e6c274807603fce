/**
 * Whether a replica gets KV blocks from another one: prefilled there for it, or held there already. Pure, like the decision it belongs to.
 *
 * Every way is priced by the one cost (cost.ts): computing itself, pulling from the best holder, or a prefill on one of the two replicas
 * that would be done first. A prefill on x for d costs the queue and the work on x and the transfer, the decoders stalled and the prefixes
 * evicted on x, the prefixes evicted on d, and decoding on d. Roles are elastic: any ready replica that transfers may prefill for another.
 */
import type { CandidateView, PlannedTransfer, PoolView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { isFull } from "./capacity.ts";
import {
  computesLittleAgain,
  maySend,
  mostElsewhere,
  mostPulled,
  type Pull,
  pullFor,
  receivingCost,
  sendingCost,
} from "./transfer-cost.ts";

/** Replicas looked at to prefill elsewhere: those that would be done first. */
export const MOST_SENDERS = 2;

/** What a candidate is cheapest with: nothing, a pull, or a prefill on the replica with this index. */
const ALONE = -1;
const PULL = -2;

export class TransferPlanner {
  readonly #view: PoolView;
  readonly #request: RequestView;
  readonly #profile: Profile;
  readonly #scored: readonly ScoredCandidate[];
  /** Indices of those that would be done first, of all that may prefill for others. */
  readonly #senders: readonly number[];
  /** The two that hold most and may send; of equals those with less queued. */
  readonly #holders: readonly CandidateView[];
  /** ALONE, PULL or the index of who prefills; by index. */
  readonly #via: Int16Array;

  /** `scored`: as many as the view's candidates, in their order. */
  constructor(view: PoolView, request: RequestView, profile: Profile, scored: readonly ScoredCandidate[]) {
    this.#view = view;
    this.#request = request;
    this.#profile = profile;
    this.#scored = scored;
    this.#via = new Int16Array(scored.length).fill(ALONE);
    this.#holders = this.#mostHeld();
    this.#senders = view.remotePrefillTokens === null ? [] : this.#firstDone();
  }

  /** Sets the `plannedCost` of each of `open`: with the transfer that makes it cheapest, which `transferOf` then tells. */
  planAll(open: readonly number[]): void {
    let bestWithout = Infinity;
    for (const index of open) bestWithout = Math.min(bestWithout, this.#scored[index]?.cost ?? Infinity);
    const mostCost = mostPulled(bestWithout);
    let bestAlone = Infinity;
    for (const index of open) {
      // Whoever would be chosen anyway pulls whenever that is cheaper.
      const cost = this.#planAlone(index, this.#scored[index]?.cost === bestWithout ? Infinity : mostCost);
      if (!this.#leavesPrefills(index)) bestAlone = Math.min(bestAlone, cost);
    }
    if (this.#senders.length === 0) return;
    const mostAway = mostElsewhere(bestAlone);
    for (const index of open) this.#planElsewhere(index, this.#leavesPrefills(index) ? null : mostAway);
  }

  /** For one that was chosen by other costs than these: only replicas that leave prefills to others do so then. */
  plan(index: number): void {
    this.#planAlone(index, Infinity);
    if (this.#leavesPrefills(index)) this.#planElsewhere(index, null);
  }

  transferOf(index: number): PlannedTransfer | null {
    const view = this.#view.candidates[index];
    const scored = this.#scored[index];
    const via = this.#via[index] ?? ALONE;
    if (view === undefined || scored === undefined || via === ALONE) return null;
    return via === PULL ? this.#pull(view, scored) : this.#prefill(view, scored, via);
  }

  #leavesPrefills(index: number): boolean {
    return this.#view.candidates[index]?.decodeOnly === true;
  }

  /** It computes the prompt itself, or what is left after a pull that makes it cost at most `mostCost`. */
  #planAlone(index: number, mostCost: number): number {
    const view = this.#view.candidates[index];
    const scored = this.#scored[index];
    this.#via[index] = ALONE;
    if (view === undefined || scored === undefined) return Infinity;
    const pull = this.#pullFor(view, scored);
    if (pull === null || (this.#profile.weights.prefillMs > 0 && pull.cost > mostCost)) return scored.cost;
    this.#via[index] = PULL;
    scored.plannedCost = pull.cost;
    return pull.cost;
  }

  /** From whoever holds the most beyond its own. */
  #pullFor(view: CandidateView, scored: ScoredCandidate): Pull | null {
    const holder = this.#holderFor(view);
    return holder === undefined ? null : pullFor(view, scored, holder.memoryTokens, this.#profile, this.#view.meanOutputTokens);
  }

  #holderFor(view: CandidateView): CandidateView | undefined {
    const [first, second] = this.#holders;
    return first === view ? second : first;
  }

  /**
   * The cheapest prefill on another replica, if that costs at most `mostCost` and less than without. Null: it leaves prefills to others, so to
   * the cheapest that will soon start it whatever that costs, and where none will, to one that costs no more than it does itself.
   */
  #planElsewhere(index: number, mostCost: number | null): void {
    const view = this.#view.candidates[index];
    const scored = this.#scored[index];
    const { remotePrefillTokens } = this.#view;
    if (view === undefined || scored === undefined || remotePrefillTokens === null || !view.transfers) return;
    const pull = this.#via[index] === PULL ? this.#pullFor(view, scored) : null;
    const missing = pull === null ? scored.uncachedTokens : this.#request.promptTokens - scored.cachedTokens - pull.tokens;
    if (missing < remotePrefillTokens) return;
    const receiving = receivingCost(scored, view, this.#profile);
    let least = Math.min(mostCost ?? Infinity, scored.plannedCost);
    let isSoon = false;
    for (const sender of this.#senders) {
      const there = this.#scored[sender];
      const sending = this.#view.candidates[sender];
      if (sender === index || there === undefined || sending === undefined) continue;
      if (!computesLittleAgain(there.uncachedTokens, scored.uncachedTokens)) continue;
      const soon = mostCost === null && there.terms.queueMs < sending.holdMs;
      const cost = receiving + sendingCost(there, sending, this.#profile);
      if (soon === isSoon ? cost > least || (cost === least && this.#via[index] === sender) : isSoon) continue;
      isSoon = soon;
      least = cost;
      this.#via[index] = sender;
      scored.plannedCost = cost;
    }
  }

  #pull(view: CandidateView, scored: ScoredCandidate): PlannedTransfer | null {
    const holder = this.#holderFor(view);
    const pull = this.#pullFor(view, scored);
    if (holder === undefined || pull === null) return null;
    const { replica, name } = holder;
    const { tokens, transferMs, insteadOfMs } = pull;
    const receiverMs = Math.max(0, workOf(scored) - insteadOfMs) + transferMs;
    return {
      kind: "pull",
      replica,
      name,
      tokens,
      transferMs,
      senderMs: 0,
      senderWorkMs: 0,
      senderNewTokens: 0,
      senderCachedTokens: 0,
      insteadOfMs,
      receiverMs,
    };
  }

  #prefill(view: CandidateView, scored: ScoredCandidate, sender: number): PlannedTransfer | null {
    const there = this.#scored[sender];
    if (there === undefined) return null;
    const { replica, name, terms, uncachedTokens, loadedTokens, deviceTokens } = there;
    const tokens = scored.uncachedTokens;
    const transferMs = tokens * view.rates.transferMsPerToken;
    const senderWorkMs = workOf(there);
    const sending = {
      senderMs: terms.queueMs + senderWorkMs,
      senderWorkMs,
      senderNewTokens: uncachedTokens + loadedTokens,
      senderCachedTokens: deviceTokens + loadedTokens,
    };
    const receiverMs = transferMs + scored.terms.loadMs;
    return { kind: "prefill", replica, name, tokens, transferMs, ...sending, insteadOfMs: workOf(scored), receiverMs };
  }

  /** Of those that may prefill for others and have room; of equals those with less in flight. */
  #firstDone(): number[] {
    const { candidates, meanOutputTokens } = this.#view;
    const first: number[] = [];
    for (const [index, candidate] of candidates.entries()) {
      const there = this.#scored[index];
      if (there === undefined || candidate.decodeOnly || !this.#maySend(candidate)) continue;
      if (isFull(candidate, there.uncachedTokens + there.loadedTokens, meanOutputTokens)) continue;
      let at = first.length;
      while (at > 0 && this.#isCheaper(index, first[at - 1] ?? 0)) at--;
      if (at >= MOST_SENDERS) continue;
      first.splice(at, 0, index);
      if (first.length > MOST_SENDERS) first.pop();
    }
    return first;
  }

  #isCheaper(left: number, right: number): boolean {
    const [a, b] = [this.#sendingCost(left), this.#sendingCost(right)];
    return a === b ? (this.#scored[left]?.terms.inFlight ?? 0) < (this.#scored[right]?.terms.inFlight ?? 0) : a < b;
  }

  #sendingCost(index: number): number {
    const [there, view] = [this.#scored[index], this.#view.candidates[index]];
    return there === undefined || view === undefined ? Infinity : sendingCost(there, view, this.#profile);
  }

  #mostHeld(): CandidateView[] {
    let [first, second]: [CandidateView | null, CandidateView | null] = [null, null];
    for (const candidate of this.#view.candidates) {
      if (!this.#maySend(candidate)) continue;
      if (first === null || holdsMore(candidate, first)) [first, second] = [candidate, first];
      else if (second === null || holdsMore(candidate, second)) second = candidate;
    }
    return [first, second].filter((holder) => holder !== null);
  }

  #maySend(sender: CandidateView): boolean {
    return maySend(sender, this.#request);
  }
}

function workOf({ terms }: ScoredCandidate): number {
  return terms.prefillMs + terms.loadMs;
}

function holdsMore(left: CandidateView, right: CandidateView): boolean {
  return left.memoryTokens === right.memoryTokens ? left.queuedPrefillMs < right.queuedPrefillMs : left.memoryTokens > right.memoryTokens;
}
