/** The conversation over a reload: the tab's session storage, which the browser forgets with the tab. */
import { API_NAMES } from "./chat-api.ts";
import type { Turn } from "./chat-turn.ts";

const KEPT_AS = "warmpath-conversation";
export const MOST_TURNS = 100;
/**
 * Of questions and answers together. With one more question and answer it stays below the 5 MiB that browsers keep for an origin, and below the
 * 8 MiB that the edge takes.
 */
export const MOST_CHARACTERS = 500_000;

/** No further turn has room. */
export const isFull = (turns: readonly Turn[]): boolean =>
  turns.length >= MOST_TURNS || turns.reduce((sum, { asked, answer }) => sum + asked.length + answer.length, 0) >= MOST_CHARACTERS;

/** What of `Storage` is used. */
interface KeptPlace {
  getItem(name: string): string | null;
  setItem(name: string, value: string): void;
  removeItem(name: string): void;
}

/** Where there is no room, the conversation lives as long as the page. */
export function keepTurns(turns: readonly Turn[], storage: Pick<KeptPlace, "setItem" | "removeItem">): void {
  try {
    storage.setItem(KEPT_AS, JSON.stringify(turns));
  } catch {
    storage.removeItem(KEPT_AS);
  }
}

/** The turns that were kept; none where another version of the page kept something else. One that ran then was stopped by the reload. */
export function keptTurns(storage: Pick<KeptPlace, "getItem">): Turn[] {
  const turns = parsed(storage.getItem(KEPT_AS) ?? "[]");
  if (!Array.isArray(turns) || turns.length > MOST_TURNS || !turns.every(isTurn)) return [];
  return turns.map((turn) => (turn.state === "running" ? { ...turn, state: "stopped" } : turn));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const STATES: readonly string[] = ["running", "done", "cut", "stopped", "failed"];
const NUMBERS = ["predictedTokens", "cachedTokens", "promptTokens", "ttftMs", "coldMs"] as const;

function isTurn(value: unknown): value is Turn {
  if (typeof value !== "object" || value === null) return false;
  const turn = value as Partial<Record<keyof Turn, unknown>>;
  const texts = [turn.asked, turn.answer, turn.model].every((text) => typeof text === "string");
  const maybeTexts = [turn.message, turn.replica].every((text) => text === null || typeof text === "string");
  const numbers = NUMBERS.every((name) => turn[name] === null || typeof turn[name] === "number");
  return texts && maybeTexts && numbers && STATES.includes(String(turn.state)) && API_NAMES.some((name) => name === turn.api);
}
