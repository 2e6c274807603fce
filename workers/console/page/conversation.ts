import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiName } from "./chat-api.ts";
import { freshTurn, messagesOf, runTurn, type Turn } from "./chat-turn.ts";
import { isFull, keepTurns, keptTurns } from "./kept-turns.ts";

export interface Conversation {
  turns: readonly Turn[];
  isRunning: boolean;
  /** No further turn has room. */
  isFull: boolean;
  send: (asked: string, api: ApiName, model: string) => void;
  stop: () => void;
  clear: () => void;
}

/** The conversation of this tab. @param ended called when a turn has ended. */
export function useConversation(apiKey: string, ended: () => void): Conversation {
  const [turns, setTurns] = useState<Turn[]>(() => keptTurns(sessionStorage));
  const [running, setRunning] = useState<AbortController | null>(null);
  const latest = useRef(turns);
  latest.current = turns;
  useEffect(() => () => running?.abort(), [running]);
  // At each begin and end of a turn, and when the page goes; not at each token.
  useEffect(() => {
    const keep = (): void => keepTurns(latest.current, sessionStorage);
    keep();
    addEventListener("pagehide", keep);
    return () => removeEventListener("pagehide", keep);
  }, [turns.length, running]);
  const run = async (turn: Turn): Promise<void> => {
    const stopper = new AbortController();
    setRunning(stopper);
    setTurns([...turns, turn]);
    const changed = (part: Partial<Turn>): void =>
      setTurns((now) => now.map((each, index) => (index === turns.length ? { ...each, ...part } : each)));
    await runTurn(apiKey, turn, messagesOf(turns, turn.asked), changed, stopper.signal);
    setRunning(null);
    ended();
  };
  return {
    turns,
    isRunning: running !== null,
    isFull: isFull(turns),
    send: (asked, api, model) => void run(freshTurn(asked, api, model)),
    stop: () => running?.abort(),
    clear: () => setTurns([]),
  };
}
