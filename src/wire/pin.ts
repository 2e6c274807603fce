/** For how long a prompt's blocks should stay where they are: the client's header, or Anthropic's `cache_control`. */
import { type ApiError, apiError } from "../errors.ts";
import { HEADER } from "./headers.ts";

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
const LEAST_MS = 1_000;
const MOST_MS = 3_600_000;
const TTL_MS: ReadonlyMap<unknown, number> = new Map([
  ["5m", 300_000],
  ["1h", 3_600_000],
]);

/** `90s`, `15m` or `1h` → ms; null without a header. */
export function parsePin(text: string | undefined): { ok: true; pinMs: number | null } | { ok: false; error: ApiError } {
  if (text === undefined) return { ok: true, pinMs: null };
  const [, digits, unit = ""] = /^(\d{1,6})([smh])$/.exec(text.trim()) ?? [];
  const pinMs = Number(digits) * (UNIT_MS[unit] ?? NaN);
  if (pinMs >= LEAST_MS && pinMs <= MOST_MS) return { ok: true, pinMs };
  const message = `The header \`${HEADER.pin}\` must be a time from 1s to 1h, as \`90s\`, \`15m\` or \`1h\`.`;
  return { ok: false, error: apiError("invalid_request", message, HEADER.pin) };
}

/** The longest `ttl` of any `cache_control` of a messages request: on the request, a tool, a block, or a block of a tool's result. Null without one. */
export function pinOfMessages(body: unknown): number | null {
  let pinMs: number | null = null;
  const see = (value: unknown): void => {
    const ttl = TTL_MS.get(field(field(value, "cache_control"), "ttl"));
    if (ttl !== undefined) pinMs = Math.max(pinMs ?? 0, ttl);
  };
  const each = (list: unknown, visit: (value: unknown) => void): void => {
    if (Array.isArray(list)) for (const value of list) visit(value);
  };
  see(body);
  each(field(body, "tools"), see);
  each(field(body, "system"), see);
  each(field(body, "messages"), (message) =>
    each(field(message, "content"), (block) => {
      see(block);
      each(field(block, "content"), see);
    }),
  );
  return pinMs;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
}
