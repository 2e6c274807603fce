/** Whom it is better to refuse at once, before any work is done for it. */
import { takesRequests } from "../pool/membership.ts";
import type { Priority } from "../pool/waiting-line.ts";
import type { ScoredCandidate } from "../decision/decision.ts";
import type { PoolState } from "./state.ts";
import type { DecideAnswer, DecideRequest } from "./question.ts";
import { MOST_WAIT_MS } from "../limits.ts";

const MOST_RETRY_SECONDS = 60;
/** A new replica takes about so long to come. */
const DRAINED_RETRY_SECONDS = 5;

type Refusal = Extract<DecideAnswer, { type: "refused" }>;

interface Outlook {
  /** Until one that enters the line now leaves it, ms. */
  waitMs: number;
  /** Of that, what the pace says at which the line moved of late. */
  paceMs: number;
  /** Until all that is queued now is prefilled, ms. */
  drainMs: number;
}

/**
 * From the predicted prefill of those before it, or from the pace at which the line moved of late where that is slower (decodes take places, too).
 *
 * @param workMs its own prefill where that is least: the line lets who has less go first.
 */
export function outlookOf(state: PoolState, priority: Priority, workMs: number, nowMs: number): Outlook {
  const { line, leases, membership } = state;
  let replicas = 0;
  let queuedMs = 0;
  let leastMs = Infinity;
  for (const replica of membership.replicas) {
    if (!takesRequests(replica)) continue;
    const { queuedPrefillMs } = leases.load(replica.slot);
    replicas++;
    queuedMs += queuedPrefillMs;
    leastMs = Math.min(leastMs, queuedPrefillMs);
  }
  // None is here: one may join.
  if (replicas === 0) return { waitMs: 0, paceMs: 0, drainMs: 0 };
  const before = line.before(priority, workMs, nowMs);
  const waitMs = Math.max(leastMs + before.workMs / replicas, before.paceMs);
  return { waitMs, paceMs: before.paceMs, drainMs: Math.max((queuedMs + line.workMs) / replicas, line.paceMs) };
}

/**
 * Null: it may wait. Its first token would come too late, or it would wait longer than anybody may. A refusal needs evidence: nobody is refused for a
 * guess, nor while a replica has a place and nobody is before it.
 *
 * @param workMs its own prefill where that is least.
 */
export function refusalOf(state: PoolState, request: DecideRequest, workMs: number, nowMs: number): Refusal | null {
  if (state.isDrained) return drained();
  if (state.line.length === 0 && hasPlace(state, request)) return null;
  const outlook = outlookOf(state, request.priority ?? "normal", workMs, nowMs);
  if (outlook.waitMs > MOST_WAIT_MS && isEvident(state, outlook)) return refused(outlook, "it would wait longer than 90 s");
  const late = tooLate(request, outlook.waitMs + workMs, nowMs) && isEvident(state, outlook) && knowsWork(state, workMs);
  return late ? refused(outlook, "its first token would come after its deadline") : null;
}

/** Its client's deadline would pass, by what is known: enough prefills of its size were reported, and of the sizes queued before it on that replica. */
export function knownTooLate(
  state: PoolState,
  request: DecideRequest,
  { replica, uncachedTokens }: ScoredCandidate,
  firstTokenInMs: number,
  nowMs: number,
): boolean {
  return tooLate(request, firstTokenInMs, nowMs) && state.rates.knows(uncachedTokens) && knowsQueue(state, replica);
}

/** The same of one in line, of which only the least prefill is looked at; and once the deadline has passed nothing needs to be known. */
export function cannotMake(state: PoolState, request: DecideRequest, workMs: number, nowMs: number): boolean {
  return tooLate(request, 0, nowMs) || (tooLate(request, workMs, nowMs) && knowsWork(state, workMs));
}

export function tooLate({ deadlineMs }: DecideRequest, firstTokenInMs: number, nowMs: number): boolean {
  return deadlineMs !== undefined && nowMs + firstTokenInMs > deadlineMs;
}

/** Whether enough prefills as long as this were reported. */
function knowsWork(state: PoolState, workMs: number): boolean {
  return state.rates.knows(workMs / state.rates.prefillMsPerToken(0));
}

/** A replica that it may go to has a free sequence. */
function hasPlace({ membership, leases }: PoolState, { failed = [] }: DecideRequest): boolean {
  return membership.replicas.some(
    (replica) =>
      takesRequests(replica) &&
      leases.load(replica.slot).inFlight < replica.capacity.sequences &&
      !failed.some(({ replica: name }) => name === replica.name),
  );
}

/** The line has moved so slowly for a while, or, where its pace says less than that, all that is queued is of sizes that were reported often enough. */
function isEvident(state: PoolState, { waitMs, paceMs }: Outlook): boolean {
  if (paceMs >= waitMs) return state.line.knowsPace;
  return state.membership.replicas.every((replica) => !takesRequests(replica) || knowsQueue(state, replica.slot));
}

/** Enough prefills were reported of the size of each that has no first token there yet. */
function knowsQueue({ leases, rates }: PoolState, slot: number): boolean {
  for (const { firstTokenAtMs, doubted, uncachedTokens } of leases.leasesOf(slot))
    if (firstTokenAtMs === null && !doubted && !rates.knows(uncachedTokens)) return false;
  return true;
}

export function refused({ drainMs }: Outlook, why: string): Refusal {
  return { type: "refused", message: `The fleet is full: ${why}. Try again shortly.`, retryAfterSeconds: retryAfter(drainMs) };
}

/** Of a pool whose last replica asked to be drained and has gone. */
export function drained(): Refusal {
  return { type: "refused", message: "This model's replicas have ended. Try again shortly.", retryAfterSeconds: DRAINED_RETRY_SECONDS };
}

function retryAfter(drainMs: number): number {
  return Math.min(MOST_RETRY_SECONDS, Math.max(1, Math.ceil(drainMs / 1_000)));
}
