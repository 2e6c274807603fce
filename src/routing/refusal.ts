/** Whom it is better to refuse at once, before any work is done for it. */
import { takesRequests } from "../pool/membership.ts";
import type { Priority } from "../pool/queue.ts";
import type { PoolState } from "./pool-state.ts";
import type { DecideAnswer, DecideRequest } from "./question.ts";

/** Nobody waits longer, whatever it asked for: an edge gives up then. */
export const MOST_WAIT_MS = 90_000;
const MOST_RETRY_SECONDS = 60;

export type Refusal = Extract<DecideAnswer, { type: "refused" }>;

export interface Outlook {
  /** Until one that enters the line now leaves it, ms. */
  waitMs: number;
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
  if (replicas === 0) return { waitMs: 0, drainMs: 0 };
  const before = line.before(priority, workMs, nowMs);
  const waitMs = Math.max(leastMs + before.workMs / replicas, before.paceMs);
  return { waitMs, drainMs: Math.max((queuedMs + line.workMs) / replicas, line.paceMs) };
}

/**
 * Null: it may wait. Its first token would come too late, or it would wait longer than anybody may.
 *
 * @param workMs its own prefill where that is least.
 */
export function refusalOf(state: PoolState, request: DecideRequest, workMs: number, nowMs: number): Refusal | null {
  // Nobody is refused for a guess.
  if (!state.rates.known) return null;
  const outlook = outlookOf(state, request.priority ?? "normal", workMs, nowMs);
  if (outlook.waitMs > MOST_WAIT_MS) return refused(outlook, "it would wait longer than 90 s");
  return tooLate(request, outlook.waitMs + workMs, nowMs) ? refused(outlook, "its first token would come after its deadline") : null;
}

export function tooLate({ deadlineMs }: DecideRequest, firstTokenInMs: number, nowMs: number): boolean {
  return deadlineMs !== undefined && nowMs + firstTokenInMs > deadlineMs;
}

export function refused({ drainMs }: Outlook, why: string): Refusal {
  return { type: "refused", message: `The fleet is full: ${why}. Try again shortly.`, retryAfterSeconds: retryAfter(drainMs) };
}

function retryAfter(drainMs: number): number {
  return Math.min(MOST_RETRY_SECONDS, Math.max(1, Math.ceil(drainMs / 1_000)));
}
