/** Finds a replica that takes the request: decide, fetch, and again elsewhere when it is busy or lost. */
import { type ApiError, apiError } from "../src/errors.ts";
import type { DecideRequest, FailedAttempt, PoolCard, ReplicaAnswer } from "../src/routing/dispatcher.ts";
import { HEADER } from "../src/wire/headers.ts";
import type { ApiName } from "../src/wire/inner.ts";
import { encodeSource } from "../src/wire/ticket.ts";
import type { Work } from "./context.ts";
import type { Env } from "./env.ts";
import type { ResponseObject } from "./objects/response-object.ts";

const MOST_ATTEMPTS = 4;
/** A request waits at most so long for a free replica. */
const MOST_WAIT_MS = 90_000;
/** A replica sends its headers as soon as it has queued the request. */
const HEADERS_TIMEOUT_MS = 5_000;

/** A request at a replica that has accepted it. */
export interface Placed {
  replica: string;
  attempt: number;
  /** Predicted by the pool. */
  cachedTokens: number;
  response: Response;
  /** Tells the replica to stop. Idempotent. */
  cancel(): void;
}

export interface Job {
  env: Env;
  pool: string;
  path: string;
  api: ApiName;
  /** For the replica, besides the id and the admission. */
  headers: Readonly<Record<string, string>>;
  /** Where the replica hands the result up, and when it may. */
  stored: DurableObjectStub<ResponseObject> | null;
  opened: Promise<void>;
  body: Uint8Array;
  stream: boolean;
  /** Unless an answer is written the lease ends with the reply. */
  work: Work;
  /** Everything but `failed`, which `place` adds. */
  decide: Omit<DecideRequest, "failed">;
  clientSignal: AbortSignal;
}

export type PlaceResult = { type: "placed"; placed: Placed } | { type: "error"; error: ApiError } | { type: "stale_card"; card: PoolCard };

type Tried = { type: "placed"; placed: Placed } | { type: "failed" };

/** For the replica alone, by the pool's word; a client's headers go no further than the edge. */
function sourceHeaders({ prefill, pull }: ReplicaAnswer): Record<string, string> {
  const headers: Record<string, string> = {};
  if (prefill !== undefined) headers[HEADER.prefill] = encodeSource(prefill);
  if (pull !== undefined) headers[HEADER.pull] = encodeSource(pull);
  return headers;
}

async function tryReplica(job: Job, answer: ReplicaAnswer): Promise<Tried> {
  const abort = new AbortController();
  const onClientGone = (): void => abort.abort();
  job.clientSignal.addEventListener("abort", onClientGone);
  const timer = setTimeout(() => abort.abort(), HEADERS_TIMEOUT_MS);
  try {
    await job.opened;
    const response = await fetch(answer.url + job.path, {
      method: "POST",
      headers: {
        ...job.headers,
        ...(job.work === "count" ? {} : sourceHeaders(answer)),
        "content-type": "application/json",
        [HEADER.requestId]: job.decide.id,
        [HEADER.admission]: answer.admission,
      },
      body: job.body,
      signal: abort.signal,
    });
    if (response.status >= 500 || response.status === 403) {
      await response.body?.cancel();
      return { type: "failed" };
    }
    const { replica, attempt, cachedTokens } = answer;
    return { type: "placed", placed: { replica, attempt, cachedTokens, response, cancel: () => abort.abort() } };
  } catch {
    return { type: "failed" };
  } finally {
    clearTimeout(timer);
  }
}

/** `failed`: the attempts that were lost so far, when this is not the first. */
export async function place(job: Job, failed: readonly FailedAttempt[] = []): Promise<PlaceResult> {
  const pool = job.env.POOL.getByName(job.pool);
  const waitUntilMs = job.decide.arrivedAtMs + MOST_WAIT_MS;
  const lost = [...failed];
  while (lost.length < MOST_ATTEMPTS) {
    const answer = await pool.decide({ ...job.decide, failed: lost });
    switch (answer.type) {
      case "stale_card":
        return answer;
      case "refused": {
        const error = { ...apiError("overloaded", answer.message), retryAfterSeconds: answer.retryAfterSeconds };
        return { type: "error", error };
      }
      case "waiting":
        if (Date.now() >= waitUntilMs || job.clientSignal.aborted) {
          await pool.leave(job.decide.id);
          return { type: "error", error: { ...apiError("overloaded", "All replicas are busy. Try again shortly."), retryAfterSeconds: 2 } };
        }
        continue;
      case "replica": {
        const tried = await tryReplica(job, answer);
        if (tried.type === "placed") return tried;
        if (job.clientSignal.aborted) {
          await pool.release(job.decide.id, answer.attempt);
          return { type: "error", error: apiError("replica_lost", "The client has gone.") };
        }
        lost.push({ replica: answer.replica, attempt: answer.attempt });
      }
    }
  }
  const last = lost.at(-1);
  if (last !== undefined) await pool.release(job.decide.id, last.attempt);
  return {
    type: "error",
    error: { ...apiError("overloaded", "No replica could take the request. Try again shortly."), retryAfterSeconds: 1 },
  };
}
