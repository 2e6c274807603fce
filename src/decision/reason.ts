import type { Decision, PlannedTransfer, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { LOWEST_COST } from "./profiles.ts";

/** One sentence a person can check against the numbers beside it. */
export function reasonFor(
  candidates: readonly ScoredCandidate[],
  chosen: number | null,
  outcome: Decision["outcome"],
  request: RequestView,
  profile: Profile,
  transfer: PlannedTransfer | null,
): string {
  const winner = chosen === null ? undefined : candidates[chosen];
  if (winner === undefined) return whyNone(candidates, outcome);
  return whyChosen(candidates, winner, request, profile) + howFetched(transfer) + whoIsLeftOut(candidates);
}

function whyChosen(candidates: readonly ScoredCandidate[], winner: ScoredCandidate, request: RequestView, profile: Profile): string {
  const rivals = candidates.filter((candidate) => candidate !== winner && candidate.barred === null);
  const holds = `${winner.name} holds ${count(winner.cachedTokens)} of ~${count(request.promptTokens)} prompt tokens${whereHeld(winner)}`;
  const ms = `predicted ${millis(winner.predictedTtftMs)} to first token`;
  const next = best(rivals, (candidate) => -candidate.plannedCost);
  if (next === undefined) return `${holds}; ${ms}; no other replica can take it now`;
  if (profile.pick !== LOWEST_COST || profile.weights.prefillMs === 0)
    return `${holds}; ${ms}; chosen by the ${profile.name} profile among ${rivals.length + 1} replicas`;
  const against = `${holds}; ${ms} against ${millis(next.predictedTtftMs)} on ${next.name}`;
  const longest = best(rivals, (candidate) => candidate.cachedTokens);
  if (longest === undefined || longest.cachedTokens <= winner.cachedTokens) return against;
  const margin = millis(longest.plannedCost - winner.plannedCost);
  return `${against}; ${longest.name} holds ${count(longest.cachedTokens)}, but its predicted cost is ${margin} higher (${whyMore(longest, winner)})`;
}

/** In brackets; nothing while all of it is on the device. */
export function whereHeld({ cachedTokens, deviceTokens, awaitedTokens, loadedTokens, terms }: ScoredCandidate): string {
  const parts: string[] = [];
  if (awaitedTokens > 0) parts.push(`${count(awaitedTokens)} of them with a request leased there before`);
  const lower = `${count(cachedTokens - deviceTokens)} of them on lower tiers`;
  if (cachedTokens > deviceTokens)
    parts.push(loadedTokens > 0 ? `${lower}, loaded in ${millis(terms.loadMs)}` : `${lower}, sooner computed than loaded`);
  return parts.length === 0 ? "" : ` (${parts.join("; ")})`;
}

/** Nothing without a transfer. */
export function howFetched(transfer: PlannedTransfer | null): string {
  if (transfer === null) return "";
  const { kind, name, tokens, transferMs, senderMs, insteadOfMs } = transfer;
  if (kind === "pull") return `; pulls ${count(tokens)} more from ${name} (${millis(transferMs)} instead of ${millis(insteadOfMs)})`;
  return `; ${name} prefills the ${count(tokens)} missing (${millis(senderMs)}, and ${millis(transferMs)} to move them)`;
}

/** Nothing where nobody is. */
function whoIsLeftOut(candidates: readonly ScoredCandidate[]): string {
  const names = candidates.flatMap(({ barred, name }) => (barred === "left out" ? [name] : []));
  if (names.length === 0) return "";
  return `; ${names.join(", ")} ${names.length === 1 ? "is" : "are"} left out for failing every request lately`;
}

function whyNone(candidates: readonly ScoredCandidate[], outcome: Decision["outcome"]): string {
  const full = candidates.filter((candidate) => candidate.barred === "full");
  const excluded = candidates.filter((candidate) => candidate.barred === "excluded").length;
  const failed = (excluded === 0 ? "" : `; ${excluded} failed this request before`) + whoIsLeftOut(candidates);
  const slow = candidates.filter((candidate) => candidate.barred === "too slow").length;
  if (outcome === "all-full" && slow > 0)
    return `waits: ${slow} of ${candidates.length} replicas decode too slowly for it now, ${full.length} have no place${failed}`;
  if (outcome === "all-full") return `all full: ${full.length} of ${candidates.length} replicas have no place${failed}`;
  return candidates.length === 0 ? "no replica is here" : `none of ${candidates.length} replicas may take it now${failed}`;
}

/** The part of the cost that sets the loser back most. */
function whyMore(loser: ScoredCandidate, winner: ScoredCandidate): string {
  const parts: [string, number][] = [
    ["the queue ahead", loser.terms.queueMs - winner.terms.queueMs],
    ["prefills that hang there", loser.terms.stuckMs - winner.terms.stuckMs],
    ["its own prefill", loser.terms.prefillMs - winner.terms.prefillMs],
    ["loading lower tiers", loser.terms.loadMs - winner.terms.loadMs],
    [`${loser.terms.inFlight} requests slowed`, loser.terms.stallMs - winner.terms.stallMs],
    ["prefixes evicted", loser.terms.displacementMs - winner.terms.displacementMs],
    ["leaving its session's replica", loser.terms.leaveMs - winner.terms.leaveMs],
    [`decoding among ${loser.terms.inFlight} others`, loser.terms.decodeMs - winner.terms.decodeMs],
  ];
  return best(parts, ([, more]) => more)?.[0] ?? "equal";
}

/** The first of the highest. */
function best<T>(items: readonly T[], worth: (item: T) => number): T | undefined {
  let found: T | undefined;
  let most = -Infinity;
  for (const item of items) {
    if (worth(item) > most) {
      most = worth(item);
      found = item;
    }
  }
  return found;
}

/** 12345 → "12,345". By hand, as it is asked for many times in each decision. */
export function count(value: number): string {
  const rounded = Math.round(value);
  if (Math.abs(rounded) < 1_000 || !Number.isSafeInteger(rounded)) return String(rounded);
  let digits = String(Math.abs(rounded));
  let grouped = "";
  for (; digits.length > 3; digits = digits.slice(0, -3)) grouped = `,${digits.slice(-3)}${grouped}`;
  return `${rounded < 0 ? "-" : ""}${digits}${grouped}`;
}

/** 1234.5 → "1,235 ms", 3.14 → "3.1 ms". */
export function millis(value: number): string {
  return `${Math.abs(value) < 10 ? String(Math.round(value * 10) / 10) : count(value)} ms`;
}
