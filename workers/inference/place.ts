/** Finds a replica that takes the request: decide, fetch, and again elsewhere when it is busy or lost; in the next pool when one has none for it. */
import type { EdgeView } from "../../src/edge/edge-view.ts";
import { type ApiError, apiError } from "../../src/errors.ts";
import type { Ask, FailedAttempt, PoolCard, ReplicaAnswer } from "../../src/router/dispatcher.ts";
import type { Work } from "../../src/wire/api-table.ts";
import { HEADER } from "../../src/wire/headers.ts";
import type { InnerRequest } from "../../src/wire/inner.ts";
import { encodeSource } from "../../src/wire/ticket.ts";
import type { Env } from "../env.ts";
import type { StoredResponse } from "../stored-response.ts";
import { poolStub } from "../pool-stub.ts";
import type { Ticker } from "../ticker.ts";
import { type ReplicaAnswerBody, verdictOf } from "../verdict.ts";
import type { ChosenPools, PoolTarget } from "../pools.ts";
import { HEADERS_TIMEOUT_MS, MOST_WAIT_MS } from "../../src/limits.ts";

const MOST_TRIES = 4;
/** Replicas that began a new epoch meanwhile were not tried; but nobody asks for ever. */
const MOST_REPLACED = 8;
/** The body may take so long on its way. */
const LEAST_BODY_BYTES_PER_MS = 2_048;

/** A request that is at a replica. */
export interface Acceptance {
  pool: string;
  replica: string;
  epoch: number;
  attempt: number;
  /** Replicas that were tried, this one included. */
  tries: number;
  /** Predicted by the pool. */
  cachedTokens: number;
}

/** And the replica has said what comes of it. */
export interface Placed extends Acceptance {
  answer: ReplicaAnswerBody;
  /** Tells the replica to stop. Idempotent. */
  cancel(): void;
}

/** Attempts are counted by each pool for itself. */
export interface LostAttempt extends FailedAttempt {
  pool: string;
}

export interface Job extends ChosenPools {
  env: Env;
  edge: EdgeView;
  path: string;
  request: InnerRequest;
  /** For the replica, besides the id and the admission. */
  headers: Readonly<Record<string, string>>;
  /** Where the replica hands the result up. */
  stored: StoredResponse | null;
  body: Uint8Array;
  stream: boolean;
  /** Unless an answer is written the lease ends with the reply. */
  work: Work;
  /** Of its limits; whoever ends the request stops it. */
  ticker: Ticker;
  clientSignal: AbortSignal;
  /** Says that the client has gone, where the platform did not see it. */
  clientLeft: () => void;
  /** Hears of each replica that has the request, before its verdict. */
  accepted: (by: Acceptance) => void;
  background: (work: Promise<unknown>) => void;
}

export type PlaceResult = { type: "placed"; placed: Placed } | { type: "error"; error: ApiError } | { type: "stale_card"; card: PoolCard };

export const requestIdOf = (job: Job): string => job.targets[0].decide.id;

/** replaced: the replica has begun a new epoch since the pool decided, and has not looked at the request. */
type Tried = { type: "placed"; placed: Placed } | { type: "failed" } | { type: "replaced" };
/** What a replica may refuse a request with, after it has looked at it. All else comes of something that went wrong there or on the way. */
const REFUSALS: ReadonlySet<number> = new Set([400, 413, 415, 422]);
const REPLACED_STATUS = apiError("epoch_replaced", "").status;

/** For the replica alone, by the pool's word; a client's headers go no further than the edge. */
function sourceHeaders({ load, prefill, pull }: ReplicaAnswer): Record<string, string> {
  const headers: Record<string, string> = {};
  if (load !== undefined) headers[HEADER.load] = load ? "1" : "0";
  if (prefill !== undefined) headers[HEADER.prefill] = encodeSource(prefill);
  if (pull !== undefined) headers[HEADER.pull] = encodeSource(pull);
  return headers;
}

/** An answer of the kind that was asked for, or a refusal. */
function isWord({ stream }: Job, { status, contentType }: ReplicaAnswerBody): boolean {
  return status === 200 ? contentType.startsWith("text/event-stream") === stream : REFUSALS.has(status);
}

async function tryReplica(job: Job, pool: string, answer: ReplicaAnswer, replaced: number): Promise<Tried> {
  if (job.clientSignal.aborted) return { type: "failed" };
  const abort = new AbortController();
  const onClientGone = (): void => abort.abort();
  job.clientSignal.addEventListener("abort", onClientGone);
  const patienceMs = HEADERS_TIMEOUT_MS + job.body.byteLength / LEAST_BODY_BYTES_PER_MS;
  const heard = job.ticker.after(patienceMs, () => abort.abort());
  try {
    const response = await fetch(answer.url + job.path, {
      method: "POST",
      headers: {
        ...job.headers,
        ...(job.work === "count" ? {} : sourceHeaders(answer)),
        "content-type": "application/json",
        [HEADER.requestId]: requestIdOf(job),
        [HEADER.model]: job.model,
        [HEADER.admission]: answer.admission,
        [HEADER.epoch]: String(answer.epoch),
      },
      body: job.body,
      // A replica answers itself: its way was proved, that of whom it names was not.
      redirect: "manual",
      signal: abort.signal,
    });
    heard();
    const { replica, epoch, attempt, cachedTokens } = answer;
    const accepted = { pool, replica, epoch, attempt, tries: attempt - replaced, cachedTokens };
    if (response.status === 200) job.accepted(accepted);
    const said = await verdictOf(response, job.ticker, () => abort.abort());
    if (said === null) return { type: "failed" };
    if (!isWord(job, said)) {
      abort.abort();
      return { type: said.status === REPLACED_STATUS ? "replaced" : "failed" };
    }
    return { type: "placed", placed: { ...accepted, answer: said, cancel: () => abort.abort() } };
  } catch {
    return { type: "failed" };
  } finally {
    heard();
  }
}

/**
 * Asks the pools in their order, then waits in the first one's line. `failed`: the attempts that were lost so far, when this is not the first.
 */
export async function place(job: Job, failed: readonly LostAttempt[] = []): Promise<PlaceResult> {
  const [first, ...others] = job.targets;
  if (others.length > 0) {
    for (const target of job.targets) {
      // A pool that can't be reached is like one that has no replica.
      const result = await placeIn(job, target, failed, true).catch((): PlaceResult => ({
        type: "error",
        error: apiError("overloaded", ""),
      }));
      if (result.type !== "error" || result.error.code !== "overloaded" || job.clientSignal.aborted) return result;
    }
  }
  return placeIn(job, first, failed, false);
}

/** `elsewhere`: another pool may take it, so nothing is waited for longer than one call holds. */
async function placeIn(job: Job, target: PoolTarget, failed: readonly LostAttempt[], elsewhere: boolean): Promise<PlaceResult> {
  const { id } = target.decide;
  // What runs here may end with its client; the pool must hear of it all the same.
  const onGone = (): void =>
    job.background(
      poolStub(job.env, target.pool)
        .leave(id)
        .catch(() => undefined),
    );
  if (job.clientSignal.aborted) return goneError();
  job.clientSignal.addEventListener("abort", onGone);
  try {
    return await askPool(job, target, failed, elsewhere);
  } finally {
    job.clientSignal.removeEventListener("abort", onGone);
  }
}

const goneError = (): PlaceResult => ({ type: "error", error: apiError("replica_lost", "The client has gone.") });

/** As of now: what is left of its deadline. */
function askOf({ ticker: { waitedMs } }: Job, { decide: { withinMs, ...decide } }: PoolTarget): Ask {
  return { ...decide, waitedMs, ...(withinMs === undefined ? {} : { withinMs: withinMs - waitedMs }) };
}

async function askPool(job: Job, target: PoolTarget, failed: readonly LostAttempt[], elsewhere: boolean): Promise<PlaceResult> {
  const pool = poolStub(job.env, target.pool);
  const { id } = target.decide;
  const lost = failed.filter((attempt) => attempt.pool === target.pool).map(({ pool: _pool, ...attempt }): FailedAttempt => attempt);
  const replaced = (): number => lost.filter((attempt) => attempt.replaced === true).length;
  while (lost.length - replaced() < MOST_TRIES && replaced() < MOST_REPLACED) {
    const answer = await pool.decide({
      ...askOf(job, target),
      failed: lost,
      ...job.edge.takeAnswered(target.pool),
      ...(elsewhere ? { elsewhere } : {}),
    });
    switch (answer.type) {
      case "stale_card":
        return answer;
      case "refused": {
        const error = { ...apiError("overloaded", answer.message), retryAfterSeconds: answer.retryAfterSeconds };
        return { type: "error", error };
      }
      case "waiting":
        if (elsewhere || job.ticker.waitedMs >= MOST_WAIT_MS || job.clientSignal.aborted) {
          await pool.leave(id);
          return { type: "error", error: { ...apiError("overloaded", "All replicas are busy. Try again shortly."), retryAfterSeconds: 2 } };
        }
        continue;
      case "replica": {
        const tried = await tryReplica(job, target.pool, answer, replaced());
        if (tried.type === "placed") return tried;
        if (job.clientSignal.aborted) {
          await pool.release(id, answer.attempt);
          return goneError();
        }
        const { replica, epoch, attempt } = answer;
        lost.push({ replica, epoch, attempt, ...(tried.type === "replaced" ? { replaced: true } : {}) });
      }
    }
  }
  const last = lost.at(-1);
  if (last !== undefined) await pool.release(id, last.attempt, last.replaced !== true);
  return {
    type: "error",
    error: { ...apiError("overloaded", "No replica could take the request. Try again shortly."), retryAfterSeconds: 1 },
  };
}
