/** Who of the line is looked at. */
import type { Claim } from "../pool/waiting-line.ts";
import { barredFor, leftOutNow } from "./exclusion.ts";
import type { PoolState } from "./state.ts";
import type { DecideRequest } from "./question.ts";
import { freeReplicas } from "./free-replicas.ts";

/** So many of the line, first of all. */
const MOST_LOOKED_AT = 64;
/** And so many of those behind, for each replica with room that none of the first may go to. */
const MOST_LOOKED_BEHIND = 8;

/**
 * The first of the line that somebody listens for; and where none of them may go to a replica that has room, the first of those behind who may.
 *
 * @param requestOf a claim's request, by its id; undefined: nobody listens for it between two calls of its edge, and its place stays.
 */
export function headsOf(state: PoolState, requestOf: (id: string) => DecideRequest | undefined, nowMs: number): Readonly<Claim>[] {
  const { line } = state;
  const heads = [...line.heads(MOST_LOOKED_AT, ({ id }) => requestOf(id) !== undefined)];
  if (heads.length < MOST_LOOKED_AT) return heads;
  const looked = new Set(heads);
  const mayGo = ({ id }: Readonly<Claim>, slot: number): boolean => {
    const request = requestOf(id);
    if (request === undefined) return false;
    const { excluded, leftOut } = barredFor(state, request, nowMs);
    return !excluded.includes(slot) && !leftOut.includes(slot);
  };
  const out = leftOutNow(state, nowMs);
  for (const { slot } of freeReplicas(state)) {
    // Hardly anybody may go there: they are not looked for in the whole line.
    if (out.includes(slot)) continue;
    if (heads.some((claim) => mayGo(claim, slot))) continue;
    for (const claim of line.heads(MOST_LOOKED_BEHIND, (other) => !looked.has(other) && mayGo(other, slot))) {
      looked.add(claim);
      heads.push(claim);
    }
  }
  return heads;
}
