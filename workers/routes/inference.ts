/** Every request that a replica answers, whichever API it came through: path → API → prompt → chain → place → answer. */
import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import type { PoolCard } from "../../src/routing/dispatcher.ts";
import type { ChatMessage } from "../../src/prefix/prompt.ts";
import { parserOf } from "../../src/wire/envelope.ts";
import { HEADER } from "../../src/wire/headers.ts";
import type { InnerRequest } from "../../src/wire/inner.ts";
import { parsePin, pinOfMessages } from "../../src/wire/pin.ts";
import { parseUrgency, type Urgency } from "../../src/wire/urgency.ts";
import { previousResponseIdOf } from "../../src/wire/responses.ts";
import { answerHeaders, answerWhole, isEventStream, pump } from "../answer.ts";
import { apiOfRequest, type AppEnv, background, errorResponse, type Work } from "../context.ts";
import { type Job, place, type Placed, type PlaceResult } from "../place.ts";
import { keepCard } from "../pool-card.ts";
import { choosePools, type ChosenPools } from "../pools.ts";
import { Ticker } from "../ticker.ts";
import { MOST_BODY_BYTES, readJson } from "../read-json.ts";
import { canStore, responseIdOf, resultTicket, storageFull, storedResponse } from "../stored-response.ts";
import { unknownModel } from "./models.ts";

const STREAM_PATIENCE_MS = 10_000;

interface Accepted {
  request: InnerRequest;
  /** What the replica gets: the conversation so far where a stored response holds it, then the client's own body. */
  body: Uint8Array;
  historyBytes: number;
  /** Only what generates streams or is stored; counts run no engine. */
  work: Work;
  /** For how long its prompt's blocks are to stay; null: as long as there is room. */
  pinMs: number | null;
  urgency: Urgency;
}

interface History {
  bytes: Uint8Array;
  messages: readonly ChatMessage[];
}

const NO_HISTORY: History = { bytes: new Uint8Array(), messages: [] };

async function historyOf(c: Context<AppEnv>, value: unknown): Promise<History | ApiError> {
  const previous = previousResponseIdOf(value);
  if (previous === null) return NO_HISTORY;
  const text = (await storedResponse(c.env, c.get("tenant"), previous)?.read("messages")) ?? null;
  if (text !== null && typeof text !== "string") return text;
  if (text !== null) return { bytes: new TextEncoder().encode(text), messages: JSON.parse(text) as ChatMessage[] };
  const message = "The previous response is not stored here. It may have been deleted, or made with `store: false`: send the whole input.";
  return apiError("not_found", message, "previous_response_id");
}

async function accept(c: Context<AppEnv>): Promise<Accepted | ApiError> {
  const read = await readJson(c.req.raw);
  if ("code" in read) return read;
  const { api, work } = apiOfRequest(c.req.path) ?? { api: "chat", work: "generate" };
  const pin = parsePin(c.req.header(HEADER.pin));
  if (!pin.ok) return pin.error;
  const urgent = parseUrgency((name) => c.req.header(name), read.value);
  if (!urgent.ok) return urgent.error;
  const history = api === "responses" ? await historyOf(c, read.value) : NO_HISTORY;
  if ("code" in history) return history;
  const parsed = parserOf(api)(read.value, { headers: (name) => c.req.header(name), history: history.messages, counts: work === "count" });
  if (!parsed.ok) return parsed.error;
  const historyBytes = history.bytes.byteLength;
  const pinMs = pin.pinMs ?? (api === "messages" ? pinOfMessages(read.value) : null);
  const { urgency } = urgent;
  const accepted = { request: parsed.request, historyBytes, work, pinMs, urgency };
  if (historyBytes === 0) return { ...accepted, body: read.bytes };
  if (historyBytes + read.bytes.byteLength > MOST_BODY_BYTES) {
    return apiError("request_too_large", "The conversation is larger than 8 MiB by now. Begin a new one.", "previous_response_id");
  }
  return { ...accepted, body: Buffer.concat([history.bytes, read.bytes]) };
}

/** What `placing` comes to, or "waiting" when that takes longer. */
async function within(job: Job, placing: Promise<PlaceResult>, ms: number): Promise<PlaceResult | "waiting"> {
  let stop = (): void => undefined;
  const patience = new Promise<"waiting">((resolve) => (stop = job.ticker.after(ms, () => resolve("waiting"))));
  const result = await Promise.race([placing, patience]);
  stop();
  return result;
}

/** Nothing of it is waited for any more. */
function end(job: Job): void {
  job.prefilled(null);
  job.ticker.stop();
}

function answerStream(c: Context<AppEnv>, job: Job, placing: Promise<PlaceResult>, placed: Placed | null): Response {
  const { readable, writable } = new IdentityTransformStream();
  // Rejects only when the client has gone, and then nobody is left to tell.
  const pumped = pump(job, placing, writable).catch(() => placed?.cancel());
  background(c)(pumped.finally(() => end(job)));
  return new Response(readable, { headers: answerHeaders(job, placed) });
}

const isStored = ({ request, work }: Pick<Accepted, "request" | "work">): boolean =>
  request.responses?.store === true && work === "generate";

/** Of all tries at a request. */
type Common = Omit<Job, keyof ChosenPools | "ticker">;

function jobOf(c: Context<AppEnv>, { request, body, historyBytes, work, pinMs }: Accepted): Common {
  const headers: Record<string, string> = {};
  if (historyBytes > 0) headers[HEADER.historyBytes] = String(historyBytes);
  if (pinMs !== null && work !== "count") headers[HEADER.pinMs] = String(pinMs);
  const { path } = c.req;
  let stored: Job["stored"] = null;
  if (isStored({ request, work })) {
    const [tenant, requestId] = [c.get("tenant"), c.get("requestId")];
    headers[HEADER.resultTicket] = resultTicket(c.env, tenant, requestId);
    stored = storedResponse(c.env, tenant, responseIdOf(requestId));
  }
  const stream = request.stream && work === "generate";
  const left = new AbortController();
  const clientLeft = (): void => left.abort();
  const { signal } = c.req.raw;
  if (signal.aborted) clientLeft();
  else signal.addEventListener("abort", clientLeft);
  const client = { clientSignal: left.signal, clientLeft, background: background(c) };
  return { env: c.env, path, api: request.api, headers, stored, body, stream, work, ...client };
}

/** The answer, or the pool's card where the one that the prompt was hashed by is old. */
async function serve(c: Context<AppEnv>, job: Job): Promise<Response | PoolCard> {
  let streams = false;
  try {
    const placing = place(job);
    // For so long a refusal can still be a real status; then a stream gets its headers and waits on with comments.
    const result = job.stream ? await within(job, placing, STREAM_PATIENCE_MS) : await placing;
    streams = result === "waiting" || (result.type === "placed" && isEventStream(result.placed));
    if (result === "waiting") return answerStream(c, job, placing, null);
    if (result.type === "stale_card") return result.card;
    if (result.type === "error") return errorResponse(c, result.error);
    if (streams) return answerStream(c, job, placing, result.placed);
    const whole = await answerWhole(job, result.placed);
    return "code" in whole ? errorResponse(c, whole) : whole;
  } finally {
    if (!streams) end(job);
  }
}

export const inference: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const accepted = await accept(c);
  if ("code" in accepted) return errorResponse(c, accepted);
  // Before anything is computed of what could not be kept.
  if (isStored(accepted) && !(await canStore(c.env))) return errorResponse(c, storageFull());
  const { request, body, work, urgency } = accepted;
  const asked = { request, bodyBytes: body.byteLength, counts: work === "count", urgency };
  let common: Common | null = null;
  for (let tries = 0; tries < 2; tries++) {
    const chosen = await choosePools(c, asked);
    if (chosen === null) return unknownModel(c, request.model);
    // Its stored response has the request's id.
    common ??= jobOf(c, accepted);
    const served = await serve(c, { ...common, ...chosen, ticker: new Ticker(arrivedAtMs) });
    if (served instanceof Response) return served;
    keepCard(served);
  }
  return errorResponse(c, { ...apiError("overloaded", "The pool is changing its hash spec. Try again."), retryAfterSeconds: 1 });
};
