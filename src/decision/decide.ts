import { score } from "./cost.ts";
import type { Decision, PoolView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { TransferPlanner } from "./transfers.ts";
import { reasonFor } from "./reason.ts";

/**
 * Chooses a replica. Pure: the same arguments give the same decision.
 *
 * Each candidate is scored (cost.ts), with the transfer that makes it cheapest (transfers.ts), and the lowest cost is chosen. Profiles that
 * weigh no prefill choose without, and only then see where the chosen one gets blocks from. Full replicas are chosen never: when all are
 * full the caller waits. So it does where a replica that decodes too slowly now for what its client wants would be cheaper, the wait counted.
 *
 * @param draw chance, in [0, 1): breaks ties, and is the random profile's choice.
 * @param turn a count of decisions so far: the round-robin profile's choice.
 */
export function decide(view: PoolView, request: RequestView, profile: Profile, draw: number, turn: number): Decision {
  const candidates = view.candidates.map((candidate) => score(candidate, request, profile, view.meanOutputTokens));
  const open: number[] = [];
  let full = 0;
  for (let index = 0; index < candidates.length; index++) {
    const barred = candidates[index]?.barred;
    if (barred === null) open.push(index);
    else if (barred === "full" || barred === "too slow") full++;
  }
  const planner = request.counts === true || open.length === 0 ? null : new TransferPlanner(view, request, profile, candidates);
  const jointly = profile.weights.prefillMs > 0;
  if (jointly) planner?.planAll(open);
  const cheapest = PICK[profile.pick](open, candidates, draw, turn);
  const chosen = profile.holds === true && isWorthAwaiting(candidates, candidates[cheapest ?? -1]) ? null : cheapest;
  if (!jointly && chosen !== null) planner?.plan(chosen);
  const outcome = chosen !== null ? "chosen" : full > 0 ? "all-full" : "none-eligible";
  const transfer = chosen === null || planner === null ? null : planner.transferOf(chosen);
  const reason = reasonFor(candidates, chosen, outcome, request, profile, transfer);
  return { chosen, outcome, reason, candidates, transfer, profile: profile.name, draw };
}

type Pick = (open: readonly number[], candidates: readonly ScoredCandidate[], draw: number, turn: number) => number | null;

const PICK: Readonly<Record<Profile["pick"], Pick>> = {
  "lowest-cost": (open, candidates, draw) => {
    let lowest = Infinity;
    for (const index of open) lowest = Math.min(lowest, candidates[index]?.plannedCost ?? Infinity);
    return byDraw(
      open.filter((index) => candidates[index]?.plannedCost === lowest),
      draw,
    );
  },
  turn: (open, _candidates, _draw, turn) => open[turn % open.length] ?? null,
  draw: (open, _candidates, draw) => byDraw(open, draw),
};

function byDraw(indices: readonly number[], draw: number): number | null {
  return indices[Math.floor(draw * indices.length)] ?? null;
}

function isWorthAwaiting(candidates: readonly ScoredCandidate[], cheapest: ScoredCandidate | undefined): boolean {
  return candidates.some(({ barred, cost }) => barred === "too slow" && cost < (cheapest?.plannedCost ?? Infinity));
}
