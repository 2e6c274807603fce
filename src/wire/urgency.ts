/** How urgent a request is: the client's headers, or OpenAI's `service_tier`. */
import { type ApiError, apiError } from "../errors.ts";
import type { Priority } from "../pool/waiting-line.ts";
import { HEADER } from "./headers.ts";

const MOST_DEADLINE_MS = 600_000;
const MOST_TPOT_MS = 60_000;

export interface Urgency {
  priority: Priority;
  /** The first token is wanted within so many ms of the request's arrival; null: whenever it comes. */
  withinMs: number | null;
  /** Tokens are wanted at least so often, ms; null: whenever they come. */
  tpotMs: number | null;
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
  const withinMs = wholeMs(header(HEADER.deadlineMs), MOST_DEADLINE_MS);
  if (Number.isNaN(withinMs)) return { ok: false, error: noNumber(HEADER.deadlineMs, MOST_DEADLINE_MS) };
  const tpotMs = wholeMs(header(HEADER.tpotMs), MOST_TPOT_MS);
  if (Number.isNaN(tpotMs)) return { ok: false, error: noNumber(HEADER.tpotMs, MOST_TPOT_MS) };
  return { ok: true, urgency: { priority, withinMs, tpotMs } };
}

/** Null when nothing was said, NaN when it is not from 1 to `most`. */
function wholeMs(said: string | undefined, most: number): number | null {
  if (said === undefined) return null;
  const ms = /^\d{1,6}$/.test(said.trim()) ? Number(said) : NaN;
  return ms >= 1 && ms <= most ? ms : NaN;
}

function noNumber(name: string, most: number): ApiError {
  return apiError("invalid_request", `The header \`${name}\` must be a whole number of ms from 1 to ${most}.`, name);
}

function tierOf(body: unknown): unknown {
  return typeof body === "object" && body !== null && "service_tier" in body ? body.service_tier : undefined;
}
