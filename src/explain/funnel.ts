/**
 * Where reuse is lost: of the prompt tokens, those that were ever computed here, of these those that some replica still holds, of these those
 * that the chosen one holds, and of these those that were really reused. Each step down has its own remedy: more cache, a better choice, a
 * better index.
 */
import { BoundedMap } from "../bounded-map.ts";
import type { LeaseKey } from "../pool/lease.ts";
import type { Decision } from "../decision/decision.ts";
import { type ExplainRecord, replay } from "./record.ts";

/** Sums over requests whose outcome is known; each number of tokens is at most the one above it. */
export interface Funnel {
  requests: number;
  promptTokens: number;
  everComputedTokens: number;
  heldTokens: number;
  chosenTokens: number;
  reusedTokens: number;
}

/** What was in sight when a request was placed, leading tokens each. */
export interface ReuseInSight {
  /** Came by before. */
  seenTokens: number;
  /** By whichever replica holds the most, on whatever tier, or will when the requests leased before have their first token. */
  heldTokens: number;
  /** The same of the chosen one. */
  chosenTokens: number;
}

export const MAX_FUNNELS = 256;
/** Placed and not settled; more than the replicas of a pool run and queue. */
export const MAX_UNSETTLED = 8_192;

export function emptyFunnel(): Funnel {
  return { requests: 0, promptTokens: 0, everComputedTokens: 0, heldTokens: 0, chosenTokens: 0, reusedTokens: 0 };
}

export function reuseInSight({ candidates, chosen }: Pick<Decision, "candidates" | "chosen">, seenTokens: number): ReuseInSight {
  const heldTokens = candidates.reduce((most, { cachedTokens }) => Math.max(most, cachedTokens), 0);
  return { seenTokens, heldTokens, chosenTokens: candidates[chosen ?? -1]?.cachedTokens ?? 0 };
}

/** Of one request. What was in sight is estimated, what was reused is exact: a step that comes out above the one before raises that one, so what was fetched from another counts as held by the chosen. */
export function funnelFor(sight: ReuseInSight, promptTokens: number, cachedTokens: number): Funnel {
  const reusedTokens = Math.min(cachedTokens, promptTokens);
  const chosenTokens = within(sight.chosenTokens, reusedTokens, promptTokens);
  const heldTokens = within(sight.heldTokens, chosenTokens, promptTokens);
  const everComputedTokens = within(sight.seenTokens, heldTokens, promptTokens);
  return { requests: 1, promptTokens, everComputedTokens, heldTokens, chosenTokens, reusedTokens };
}

/** Of a logged decision; null until its replica has said what it reused, and for what wrote nothing: counts and prewarms. */
export function funnelOf(record: ExplainRecord, decision: Decision = replay(record)): Funnel | null {
  const { promptTokens, cachedTokens, outputTokens } = record.outcome;
  if (promptTokens === null || cachedTokens === null || outputTokens === 0 || record.request.counts === true) return null;
  const { candidates } = decision;
  const { chosen } = record.decision;
  return funnelFor(reuseInSight({ candidates, chosen }, record.seenTokens ?? 0), promptTokens, cachedTokens);
}

function within(tokens: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, tokens));
}

export function addFunnel(into: Funnel, more: Readonly<Funnel>): void {
  into.requests += more.requests;
  into.promptTokens += more.promptTokens;
  into.everComputedTokens += more.everComputedTokens;
  into.heldTokens += more.heldTokens;
  into.chosenTokens += more.chosenTokens;
  into.reusedTokens += more.reusedTokens;
}

/** The pool's, and each tenant's; tenants not heard of for longest are forgotten first. In memory only, as the pool's counters are. */
export class Funnels {
  readonly pool = emptyFunnel();
  readonly #byTenant = new BoundedMap<string, Funnel>(MAX_FUNNELS);
  /** By request id: the attempt that was placed last. */
  readonly #unsettled = new BoundedMap<string, { tenant: string; attempt: number; sight: ReuseInSight }>(MAX_UNSETTLED);

  get unsettled(): number {
    return this.#unsettled.size;
  }

  /** Another attempt at the same request takes the place of the one before. */
  placed({ id, attempt }: LeaseKey, tenant: string, sight: ReuseInSight): void {
    this.#unsettled.set(id, { tenant, attempt, sight });
  }

  /** Counts a request once, whatever is reported again. A prewarm, which writes nothing, is not counted. */
  settled({ id, attempt }: LeaseKey, said: { promptTokens: number; cachedTokens: number; outputTokens: number }): void {
    const open = this.#unsettled.get(id);
    if (open?.attempt !== attempt) return;
    this.#unsettled.delete(id);
    if (said.outputTokens > 0) this.#add(open.tenant, funnelFor(open.sight, said.promptTokens, said.cachedTokens));
  }

  of(tenant: string): Readonly<Funnel> {
    return this.#byTenant.get(tenant) ?? emptyFunnel();
  }

  #add(tenant: string, funnel: Readonly<Funnel>): void {
    addFunnel(this.pool, funnel);
    const own = this.#byTenant.get(tenant) ?? emptyFunnel();
    addFunnel(own, funnel);
    this.#byTenant.set(tenant, own);
  }
}
