/** Plays a plan through the edge as its graph says, and keeps what the clients and the pool saw of each request. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Attempt, decisionOf, streamChat, type Streamed, type Target } from "../conversations.ts";
import type { Asked } from "./asked.ts";

/** As the pool keeps it. */
export interface SeenAttempt extends Attempt {
  outcome: Attempt["outcome"] & { transfer: { ms: number; tokens: number } | null };
}

export interface Seen {
  id: number;
  replica: string;
  failed: boolean;
  startedAtMs: number;
  firstAtMs: number;
  endedAtMs: number;
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
  /** Its last one; null when the pool does not keep it any more. */
  attempt: SeenAttempt | null;
}

export async function playPlan(target: Target, asked: readonly Asked[]): Promise<Seen[]> {
  const startMs = performance.now();
  const ends: Promise<Streamed>[] = [];
  const one = async ({ at, after, gapMs, session, messages, maxTokens }: Asked): Promise<Streamed> => {
    if (at !== null) await sleep(Math.max(0, startMs + at - performance.now()));
    else {
      await Promise.all(after.flatMap((id) => ends[id] ?? []));
      await sleep(gapMs);
    }
    return streamChat({ ...target, headers: { ...target.headers, "x-session-id": session } }, messages, { maxTokens });
  };
  // In order: what a request follows has a lower id.
  for (const request of asked) ends[request.id] = one(request);
  const streams = await Promise.all(ends);
  const seen: Seen[] = [];
  for (const [id, streamed] of streams.entries()) seen.push(seenOf(id, streamed, await attemptOf(target, streamed.id)));
  return seen;
}

async function attemptOf(target: Target, id: string): Promise<SeenAttempt | null> {
  return ((await decisionOf(target, id))?.attempts.at(-1) as SeenAttempt | undefined) ?? null;
}

function seenOf(id: number, { replica, end, usage, startedAtMs, firstAtMs, endedAtMs }: Streamed, attempt: SeenAttempt | null): Seen {
  return {
    id,
    replica,
    failed: end !== "done" || firstAtMs === null || usage === null,
    startedAtMs,
    firstAtMs: firstAtMs ?? endedAtMs,
    endedAtMs,
    promptTokens: usage?.prompt_tokens ?? 0,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    outputTokens: usage?.completion_tokens ?? 0,
    attempt,
  };
}
