/** What binds the requests of one conversation: the strongest hint that the client gave. */
import { isObject } from "./check.ts";

/** Header names in lower case. */
export type HeaderReader = (name: string) => string | null | undefined;

export const NO_HEADERS: HeaderReader = () => null;

const MAX_SESSION = 128;
const CLAUDE_CODE = ["x-claude-code-session-id"];
/** Codex's (`session_id` before 2026), then gateways' and OpenRouter's. */
const SESSION_HEADERS = ["session-id", "session_id", "thread-id", "x-session-id", "x-session-affinity"];

/**
 * `prompt_cache_key`, `previous_response_id`, Claude Code's header, session headers, the session in Anthropic's `metadata.user_id`, `user`.
 * Cut to 128 characters; null = none given.
 */
export function sessionOf(body: unknown, headers: HeaderReader = NO_HEADERS): string | null {
  const fields = isObject(body) ? body : {};
  return (
    hint(fields["prompt_cache_key"]) ??
    hint(fields["previous_response_id"]) ??
    fromHeaders(headers, CLAUDE_CODE) ??
    fromHeaders(headers, SESSION_HEADERS) ??
    sessionOfUserId(isObject(fields["metadata"]) ? fields["metadata"]["user_id"] : null) ??
    hint(fields["user"])
  );
}

function fromHeaders(headers: HeaderReader, names: readonly string[]): string | null {
  for (const name of names) {
    const value = hint(headers(name));
    if (value !== null) return value;
  }
  return null;
}

/** JSON text with `session_id` (Claude Code), its older `user_…_session_<id>`, or any other id of a user. */
function sessionOfUserId(userId: unknown): string | null {
  if (typeof userId !== "string" || userId.length > 4_096) return null;
  if (userId.startsWith("{")) {
    try {
      const parsed: unknown = JSON.parse(userId);
      const session = isObject(parsed) ? hint(parsed["session_id"]) : null;
      if (session !== null) return session;
    } catch {
      // No JSON: an id like any other.
    }
  }
  return hint(/_session_([\w-]+)$/.exec(userId)?.[1] ?? userId);
}

function hint(value: unknown): string | null {
  if (typeof value !== "string") return null;
  const text = value.trim().slice(0, MAX_SESSION);
  return text === "" ? null : text;
}
