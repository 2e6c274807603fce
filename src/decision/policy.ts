/**
 * What a policy is: how a pool chooses one of the replicas that can take a request.
 *
 * A policy is one entry of profiles.ts, and its key is its name everywhere: WARMPATH_PROFILE of a deployment, `--profile` of the commands, the records
 * of decisions and the simulator's `warmpath:NAME`. Nothing else has to be edited. There are two kinds:
 *
 * - **Weights.** The policy weighs the parts of a cost (`CostTerms`), and the replica that costs least is chosen; equals are drawn.
 *
 *       "fewest-requests": { weights: { ...NOTHING, inFlight: 1 } },
 *
 * - **Logic.** The policy has a rule, which is given the request and the open replicas and returns the index of one of them. A short rule stands in the
 *   entry; a long one has a file of its own beside this one.
 *
 *       "power-of-two": {
 *         said: "as the less loaded of two drawn ones",
 *         choose(_request, open, draw) {
 *           const [a, b] = [draw, draw].map((next) => Math.floor(next() * open.length));
 *           return (open[a]?.view.inFlight ?? 0) <= (open[b]?.view.inFlight ?? 0) ? a : b;
 *         },
 *       },
 *
 * What every policy can rely on, and need not do itself:
 *
 * - Replicas that are not ready, excluded, left out or full are not among the open ones. With none open the request waits, and no policy is asked.
 * - Each open replica has its price already (cost.ts): tokens held and missing, ms of queue, prefill and loading, the predicted first token.
 *   `scored.cost` is what the policy's own weights make of it: 0 without weights.
 * - KV blocks are moved to the chosen replica where that is quicker than computing them (cost-table.ts). With weights on time, the cost of each replica
 *   is the one with its cheapest transfer, `plannedCost`.
 *
 * What it must be: pure. A decision is kept as its input and decided again from that, for `warmpath replay`, for hindsight and for the paragraph that
 * explains it. So a rule has no state and no clock, and its chance comes from `draw` alone.
 *
 * The peers of the simulator (simulator/peers) keep the same contract, `Rule`, over what their routers would know. They alone may keep state, as nothing
 * decides theirs again.
 */
import type { CandidateView, CostTerms, RequestView, ScoredCandidate } from "./decision.ts";

/** A policy's logic. `Request` and `Replica`: what it is shown. */
export interface Rule<Request, Replica> {
  /**
   * Chooses at once.
   *
   * @param replicas those that can take the request: 1 or more, in the same order for all requests until the membership changes.
   * @param draw a new random number in [0, 1) at each call; how often it is called is up to the rule.
   * @returns an index into `replicas`. Another number is a bug, and the caller throws a RangeError.
   */
  choose(request: Request, replicas: readonly Replica[], draw: () => number): number;
}

/** A request as a pool's rule is shown it. */
interface PolicyRequest extends RequestView {
  /** How many decisions the pool made before this one. */
  turn: number;
}

/** A replica that can take the request now, as a pool's rule is shown it. */
interface OpenReplica {
  /** Its load, what it holds of the prompt and what is learnt of its pace. */
  view: Readonly<CandidateView>;
  /** What this request would take there. */
  scored: Readonly<ScoredCandidate>;
}

interface WeightPolicy {
  weights: Readonly<CostTerms>;
  /** A request stays in line until its replica will soon start it, so that a better place can still appear. Absent: it goes as soon as there is a place. */
  holds?: boolean;
}

export interface LogicPolicy extends Rule<PolicyRequest, OpenReplica> {
  /** Its price of a replica, for `scored`; absent: 0, and transfers are planned for the chosen replica only. */
  weights?: Readonly<CostTerms>;
  /** Completes "r1 was chosen among 4 that could take it, …" in what is said of a decision. */
  said: string;
}

export type Policy = WeightPolicy | LogicPolicy;
