/**
 * Whether a vLLM is paused or asleep. It says that it is healthy then, takes requests and lets them hang. Its routes for that exist only in a
 * server that can be paused; without them nothing is asked again.
 */
import { z } from "zod";
import type { ServerLink } from "../openai/server-link.ts";

const EVERY_MS = 1_000;
const ANSWER_MS = 2_000;

const STATES = [
  { path: "/is_paused", shape: z.object({ is_paused: z.boolean() }).transform(({ is_paused: is }) => is), why: "The engine is paused." },
  {
    path: "/is_sleeping",
    shape: z.object({ is_sleeping: z.boolean() }).transform(({ is_sleeping: is }) => is),
    why: "The engine is asleep.",
  },
] as const;

/** `onRest`: why it takes nothing, or null. Called on changes only. Returns the function that ends the watch. */
export function watchRest(link: ServerLink, onRest: (why: string | null) => void, everyMs = EVERY_MS): () => void {
  const ending = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let last: string | null = null;
  const look = async (): Promise<void> => {
    const answers = await Promise.all(STATES.map(({ path }) => link.call({ path, ms: ANSWER_MS, signal: ending.signal })));
    if (ending.signal.aborted) return;
    const there = answers.map((answer) => answer.type === "answer" && answer.status === 200);
    const resting = STATES.find(({ shape }, index) => {
      const answer = answers[index];
      return there[index] === true && answer?.type === "answer" && shape.safeParse(answer.body).data === true;
    });
    const why = resting?.why ?? null;
    // A server that does not answer has not said that it goes on.
    if (why !== last && (why !== null || there.some(Boolean))) onRest((last = why));
    const isServer = answers.some(({ type }) => type === "answer");
    if (isServer && !there.some(Boolean)) return;
    timer = setTimeout(() => void look(), everyMs);
    timer.unref();
  };
  void look();
  return () => {
    ending.abort();
    clearTimeout(timer);
  };
}
