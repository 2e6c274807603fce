/** One try at one replica: the request is sent there, and the replica says what comes of it. */
import { apiError } from "../../src/errors.ts";
import { HEADERS_TIMEOUT_MS } from "../../src/limits.ts";
import type { ReplicaAnswer } from "../../src/router/dispatcher.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { encodeSource } from "../../src/wire/ticket.ts";
import { type ReplicaAnswerBody, verdictOf } from "../verdict.ts";
import type { InferenceCall } from "./call.ts";

/** A body may be on its way between edge and replica for as long as it takes at this pace. */
export const LEAST_BODY_BYTES_PER_MS = 2_048;

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

/** Where and as what the request is sent. */
interface Try {
  pool: string;
  /** As the pool's replicas call it. */
  model: string;
  id: string;
  answer: ReplicaAnswer;
  /** Replicas that were tried, this one included. */
  tries: number;
  /** The replica has the request; its verdict follows. */
  accepted: (by: Acceptance) => void;
}

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
function isWord({ isStream }: InferenceCall, { status, contentType }: ReplicaAnswerBody): boolean {
  return status === 200 ? contentType.startsWith("text/event-stream") === isStream : REFUSALS.has(status);
}

export async function place(call: InferenceCall, { pool, model, id, answer, tries, accepted }: Try): Promise<Tried> {
  const { asked, client, ticker } = call;
  if (client.hasLeft) return { type: "failed" };
  const abort = new AbortController();
  const cancel = (): void => abort.abort();
  // For as long as the answer is read.
  client.whenLeft(cancel);
  const heard = ticker.after(HEADERS_TIMEOUT_MS + asked.body.byteLength / LEAST_BODY_BYTES_PER_MS, cancel);
  try {
    const response = await fetch(answer.url + asked.path, {
      method: "POST",
      headers: {
        ...call.replicaHeaders(id),
        ...(asked.work === "count" ? {} : sourceHeaders(answer)),
        "content-type": "application/json",
        [HEADER.requestId]: id,
        [HEADER.model]: model,
        [HEADER.admission]: answer.admission,
        [HEADER.epoch]: String(answer.epoch),
      },
      body: asked.body,
      // A replica answers itself: its way was proved, that of whom it names was not.
      redirect: "manual",
      signal: abort.signal,
    });
    heard();
    const { replica, epoch, attempt, cachedTokens } = answer;
    const by = { pool, replica, epoch, attempt, tries, cachedTokens };
    if (response.status === 200) accepted(by);
    const said = await verdictOf(response, ticker, cancel);
    if (said === null) return { type: "failed" };
    if (!isWord(call, said)) {
      cancel();
      return { type: said.status === REPLACED_STATUS ? "replaced" : "failed" };
    }
    return { type: "placed", placed: { ...by, answer: said, cancel } };
  } catch {
    return { type: "failed" };
  } finally {
    heard();
  }
}
