/** Why a request went where it went and what came of it, in one paragraph: every number in it is also in the JSON beside it. */
import { logicOf } from "../decision/profiles.ts";
import type { CostTerms, Decision, PlannedTransfer, Profile, ScoredCandidate } from "../decision/decision.ts";
import type { DecisionOutcome, ExplainRecord } from "./record.ts";
import { firstTokenMs } from "../decision/first-token.ts";
import type { Hindsight } from "./hindsight.ts";
import { count, howFetched, millis, whereHeld } from "../decision/reason.ts";

/** Less would be written as 0 ms. */
const LEAST_TOLD_MS = 0.05;

/**
 * @param decision the record decided again, for the candidates' numbers.
 * @param hindsight of the record; null as long as nothing came of it.
 */
export function whyOf(record: ExplainRecord, { candidates }: Decision, hindsight: Hindsight | null): string {
  const { decision, profile, waitedMs, outcome } = record;
  const winner = candidates[decision.chosen ?? -1];
  if (winner === undefined) return `${decision.reason}.`;
  const rivals = candidates.filter((candidate) => candidate !== winner && candidate.barred === null);
  const parts = [
    `${winner.name} was chosen ${howChosen(profile, rivals.length)}.`,
    `${whatItHeld(record, winner)}.`,
    `${predicted(winner, decision.transfer)}.`,
    harm(winner, decision.transfer, profile),
    runnerUp(winner, rivals, profile),
    waitedMs === undefined ? "" : waitedMs < 1 ? "It was sent at once." : `It was sent ${millis(waitedMs)} after it came.`,
    whatCame(outcome, winner, hindsight),
  ];
  return parts.filter((part) => part !== "").join(" ");
}

function howChosen(profile: Profile, rivals: number): string {
  const { name, weights } = profile;
  if (rivals === 0) return `as the only one that could take it (profile ${name})`;
  const among = `among ${rivals + 1} that could take it`;
  const byCost = weights.prefillMs > 0 ? "at the least predicted cost" : "by its rule";
  return `${among}, ${logicOf(profile)?.said ?? byCost} (profile ${name})`;
}

function whatItHeld({ request, seenTokens, residency }: ExplainRecord, winner: ScoredCandidate): string {
  const doubt = residency === undefined ? "" : `, which is ${residency.state}${residency.why === undefined ? "" : `: ${residency.why}`}`;
  const held = `It held ${count(winner.cachedTokens)} of ~${count(request.promptTokens)} prompt tokens${whereHeld(winner)}${doubt}`;
  return seenTokens === undefined ? held : `${held}; ${count(seenTokens)} had come by before`;
}

function predicted(winner: ScoredCandidate, transfer: PlannedTransfer | null): string {
  const ms = `Predicted to the first token: ${millis(firstTokenMs(winner, transfer))}`;
  if (transfer === null) return `${ms} (${timeParts(winner.terms)}); no blocks come from elsewhere`;
  // With a transfer the replica's own times are those it would have had alone.
  return `${ms}${howFetched(transfer)}; alone it would take ${millis(winner.predictedTtftMs)} (${timeParts(winner.terms)})`;
}

function timeParts({ queueMs, prefillMs, loadMs }: CostTerms): string {
  const parts = [`${millis(queueMs)} of queue`, `${millis(prefillMs)} of its own prefill`];
  if (loadMs > 0) parts.push(`${millis(loadMs)} of loading lower tiers`);
  return parts.join(", ");
}

/** What the profile weighs besides time to the first token. */
function harmParts({ terms }: ScoredCandidate, { weights }: Profile): string[] {
  const others = `${terms.inFlight} ${terms.inFlight === 1 ? "request" : "requests"}`;
  const parts: [number, string][] = [
    [weights.stallMs * terms.stallMs, `for stalling ${others} in flight there`],
    [weights.displacementMs * terms.displacementMs, "for prefixes displaced"],
    [weights.decodeMs * terms.decodeMs, `for decoding beside ${others}`],
    [weights.leaveMs * terms.leaveMs, "for leaving its session's replica"],
  ];
  return parts.filter(([ms]) => ms >= LEAST_TOLD_MS).map(([ms, what]) => `${millis(ms)} ${what}`);
}

function harm(winner: ScoredCandidate, transfer: PlannedTransfer | null, profile: Profile): string {
  const parts = harmParts(winner, profile);
  return parts.length === 0 ? "" : `Its cost${transfer === null ? "" : " alone"} counts besides ${parts.join(", ")}.`;
}

function runnerUp(winner: ScoredCandidate, rivals: readonly ScoredCandidate[], profile: Profile): string {
  const [first, ...rest] = rivals;
  if (first === undefined) return "";
  const byCost = profile.weights.prefillMs > 0 && logicOf(profile) === null;
  const worth = (candidate: ScoredCandidate): number => (byCost ? candidate.plannedCost : candidate.predictedTtftMs);
  const next = rest.reduce((best, candidate) => (worth(candidate) < worth(best) ? candidate : best), first);
  const time = `${millis(next.predictedTtftMs)} to the first token (${timeParts(next.terms)}) with ${count(next.cachedTokens)} tokens held`;
  if (!byCost) return `Of the others ${next.name} was predicted soonest: ${time}.`;
  const besides = harmParts(next, profile);
  const margin = worth(next) - worth(winner);
  const dearer = margin <= 0 ? `${next.name} cost the same, and the draw decided` : `Next came ${next.name}, dearer by ${millis(margin)}`;
  return `${dearer}: ${time}${besides.length === 0 ? "" : `, and ${besides.join(", ")}`}.`;
}

function whatCame(outcome: DecisionOutcome, winner: ScoredCandidate, hindsight: Hindsight | null): string {
  const { cachedTokens, promptTokens, outputTokens, ended } = outcome;
  const end =
    ended === "released"
      ? "It was given back before its end."
      : ended === "expired"
        ? "Its lease ran out before its end was reported."
        : "";
  if (promptTokens === null || cachedTokens === null) return end === "" ? "Nothing has been reported of it yet." : end;
  const reused = `${count(cachedTokens)} of ${count(promptTokens)} prompt tokens were reused`;
  const wrote = outputTokens === null || outputTokens === 0 ? "" : ` and ${count(outputTokens)} written`;
  const came =
    hindsight === null
      ? `${reused}${wrote}.`
      : `The first token came after ${millis(hindsight.actualMs)}, ${late(hindsight)}; ${reused}${wrote}. ${regret(hindsight, winner)}`;
  return [came, movedHow(outcome), end].filter((part) => part !== "").join(" ");
}

function late({ actualMs, predictedMs }: Hindsight): string {
  const lateMs = actualMs - predictedMs;
  if (Math.abs(lateMs) < LEAST_TOLD_MS) return "as predicted for the prompt's true length";
  return `${millis(Math.abs(lateMs))} ${lateMs < 0 ? "sooner" : "later"} than predicted for the prompt's true length`;
}

function regret({ regretMs, bestMs, best, foreseenMs }: Hindsight, winner: ScoredCandidate): string {
  if (regretMs < LEAST_TOLD_MS || best === winner.name) return "In hindsight no other is predicted to have been sooner.";
  const foreseen = foreseenMs < LEAST_TOLD_MS ? "" : `, ${foreseenMs >= regretMs ? "all" : millis(foreseenMs)} of it foreseen`;
  return `In hindsight ${best} is predicted to have needed ${millis(bestMs)}: a regret of ${millis(regretMs)} at most${foreseen}.`;
}

function movedHow({ transfer }: DecisionOutcome): string {
  if (transfer === null) return "";
  const { kind, replica, outcome, why, tokens, ms } = transfer;
  const what = kind === "pull" ? `The pull from ${replica}` : `The prefill on ${replica}`;
  if (outcome === "used") return `${what} brought ${count(tokens)} tokens in ${millis(ms)}.`;
  return `${what} came to nothing${why === undefined ? "" : ` (${why})`}, so it computed itself.`;
}
