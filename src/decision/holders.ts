/** Which replicas could send most of a prompt that another one lacks. */
import type { CandidateView, RequestView } from "./decision.ts";
import { maySend } from "./transfer-cost.ts";

/**
 * Columns of the two that hold most of it in memory and may send it; -1 where there is none. Of two that hold as much, the one with less queued
 * comes first, then the first column.
 *
 * @param held tokens of a row's prompt in a replica's memory.
 */
export function mostHeld(
  request: RequestView,
  views: readonly CandidateView[],
  row: number,
  held: (row: number, view: CandidateView) => number,
): [number, number] {
  let [first, firstHeld, firstQueued] = [-1, -1, 0];
  let [second, secondHeld, secondQueued] = [-1, -1, 0];
  for (let column = 0; column < views.length; column++) {
    const view = views[column];
    if (view === undefined || !maySend(view, request)) continue;
    const [tokens, queued] = [held(row, view), view.queuedPrefillMs];
    if (tokens > firstHeld || (tokens === firstHeld && queued < firstQueued)) {
      [second, secondHeld, secondQueued] = [first, firstHeld, firstQueued];
      [first, firstHeld, firstQueued] = [column, tokens, queued];
    } else if (tokens > secondHeld || (tokens === secondHeld && queued < secondQueued)) {
      [second, secondHeld, secondQueued] = [column, tokens, queued];
    }
  }
  return [first, second];
}
