import { score } from "./cost.ts";
import type { Decision, PlannedTransfer, PoolView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { ALONE, CostTable, OPEN, FULL, TOO_SLOW, PULL } from "./cost-table.ts";
import { drawsFrom } from "./draws.ts";
import type { LogicPolicy } from "./policy.ts";
import { logicOf } from "./profiles.ts";
import { reasonFor } from "./reason.ts";
import { plannedPrefill, plannedPull } from "./transfers.ts";

/**
 * Chooses a replica. Pure: the same arguments give the same decision.
 *
 * Each candidate is scored (cost.ts), with the transfer that makes it cheapest (cost-table.ts), and the lowest cost is chosen, or whom the policy's logic takes (policy.ts). Profiles that
 * weigh no prefill choose without, and only then see where the chosen one gets blocks from. Full replicas are chosen never: when all are
 * full the caller waits. So it does where a replica that decodes too slowly now for what its client wants would be cheaper, the wait counted.
 *
 * @param draw chance, in [0, 1): breaks ties, and is all the chance that a policy's logic has.
 * @param turn a count of decisions so far, for the policy's logic.
 */
export function decide(view: PoolView, request: RequestView, profile: Profile, draw: number, turn: number): Decision {
  const { meanOutputTokens, remotePrefillTokens } = view;
  const candidates = view.candidates.map((candidate) => score(candidate, request, profile, meanOutputTokens));
  const setting = { profile, meanOutputTokens, remotePrefillTokens };
  const table = new CostTable(setting, [request], view.candidates, (_row, { memoryTokens }) => memoryTokens);
  const open: number[] = [];
  let full = 0;
  for (let column = 0; column < candidates.length; column++) {
    const scored = candidates[column];
    if (scored === undefined) continue;
    table.fill(0, column, scored);
    const state = table.stateOf(0, column);
    if (state === OPEN) open.push(column);
    else if (state === FULL || state === TOO_SLOW) full++;
  }
  const jointly = profile.weights.prefillMs > 0;
  if (jointly) {
    table.look(0, null);
    for (const column of open) {
      const scored = candidates[column];
      if (scored !== undefined) scored.plannedCost = table.costs[column] ?? scored.cost;
    }
  }
  const cheapest = pick(open, candidates, view, request, profile, draw, turn);
  const least = candidates[cheapest ?? -1]?.plannedCost ?? Infinity;
  const chosen = profile.holds === true && table.isWorthAwaiting(0, least, null) ? null : cheapest;
  if (!jointly && chosen !== null) table.lookAtChosen(0, chosen);
  const outcome = chosen !== null ? "chosen" : full > 0 ? "all-full" : "none-eligible";
  const transfer = chosen === null ? null : transferOf(table, chosen, view, candidates);
  const reason = reasonFor(candidates, chosen, outcome, request, profile, transfer);
  return { chosen, outcome, reason, candidates, transfer, profile: profile.name, draw };
}

function transferOf(
  table: CostTable,
  chosen: number,
  { candidates }: PoolView,
  scored: readonly ScoredCandidate[],
): PlannedTransfer | null {
  const via = table.via[chosen] ?? ALONE;
  const [view, own] = [candidates[chosen], scored[chosen]];
  if (view === undefined || own === undefined || via === ALONE) return null;
  const holder = candidates[table.holderFor(0, chosen)];
  if (via === PULL) return holder === undefined ? null : plannedPull(view, own, holder);
  const there = scored[via];
  return there === undefined ? null : plannedPrefill(view, own, there);
}

/** Index into `candidates`; null: none is open. */
function pick(
  open: readonly number[],
  candidates: readonly ScoredCandidate[],
  view: PoolView,
  request: RequestView,
  profile: Profile,
  draw: number,
  turn: number,
): number | null {
  const logic = open.length === 0 ? null : logicOf(profile);
  if (logic !== null) return pickByLogic(logic, open, candidates, view, request, draw, turn);
  let lowest = Infinity;
  for (const index of open) lowest = Math.min(lowest, candidates[index]?.plannedCost ?? Infinity);
  return byDraw(
    open.filter((index) => candidates[index]?.plannedCost === lowest),
    draw,
  );
}

function pickByLogic(
  logic: LogicPolicy,
  open: readonly number[],
  candidates: readonly ScoredCandidate[],
  { candidates: views }: PoolView,
  request: RequestView,
  draw: number,
  turn: number,
): number {
  const shown = open.flatMap((index) => {
    const [view, scored] = [views[index], candidates[index]];
    return view === undefined || scored === undefined ? [] : [{ view, scored }];
  });
  const at = logic.choose({ ...request, turn }, shown, drawsFrom(draw));
  const chosen = open[at];
  if (chosen === undefined) throw new RangeError(`a policy chose ${at} of ${open.length} replicas`);
  return chosen;
}

function byDraw(indices: readonly number[], draw: number): number | null {
  return indices[Math.floor(draw * indices.length)] ?? null;
}
