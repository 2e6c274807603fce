/** How urgent a request is: the client's headers, or OpenAI's `service_tier`. */
import { type ApiError, apiError } from "../errors.ts";
import type { Priority } from "../pool/queue.ts";
import { HEADER } from "./headers.ts";

const MOST_DEADLINE_MS = 600_000;

export interface Urgency {
  priority: Priority;
  /** The first token is wanted within so many ms of the request's arrival; null: whenever it comes. */
  withinMs: number | null;
}

const OF_TIER: ReadonlyMap<unknown, Priority> = new Map([
  ["priority", "high"],
  ["flex", "low"],
]);

/** The headers win over the body's tier. */
export function parseUrgency(
  header: (name: string) => string | undefined,
  body: unknown,
): { ok: true; urgency: Urgency } | { ok: false; error: ApiError } {
  const said = header(HEADER.priority)?.trim();
  const priority = said ?? OF_TIER.get(tierOf(body)) ?? "normal";
  if (priority !== "high" && priority !== "normal" && priority !== "low") {
    const message = `The header \`${HEADER.priority}\` must be \`high\`, \`normal\` or \`low\`.`;
    return { ok: false, error: apiError("invalid_request", message, HEADER.priority) };
  }
  const deadline = header(HEADER.deadlineMs)?.trim();
  if (deadline === undefined) return { ok: true, urgency: { priority, withinMs: null } };
  const withinMs = /^\d{1,6}$/.test(deadline) ? Number(deadline) : NaN;
  if (withinMs >= 1 && withinMs <= MOST_DEADLINE_MS) return { ok: true, urgency: { priority, withinMs } };
  const message = `The header \`${HEADER.deadlineMs}\` must be a whole number of ms from 1 to ${MOST_DEADLINE_MS}.`;
  return { ok: false, error: apiError("invalid_request", message, HEADER.deadlineMs) };
}

function tierOf(body: unknown): unknown {
  return typeof body === "object" && body !== null && "service_tier" in body ? body.service_tier : undefined;
}
