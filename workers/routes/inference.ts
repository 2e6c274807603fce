/** Every request that a replica answers, whichever API it came through: path → API → prompt → chain → place → answer. */
import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import type { PoolCard } from "../../src/router/dispatcher.ts";
import type { ChatMessage } from "../../src/prefix/prompt.ts";
import { forwardedDigest } from "../../src/wire/admission.ts";
import { apiRowOf, type Work } from "../../src/wire/api-table.ts";
import { parserOf } from "../../src/wire/envelope.ts";
import { HEADER } from "../../src/wire/headers.ts";
import type { InnerRequest } from "../../src/wire/inner.ts";
import { openTurnProblem } from "../../src/wire/open-turn.ts";
import { parsePin, pinOfMessages } from "../../src/wire/pin.ts";
import { parseUrgency, type Urgency } from "../../src/wire/urgency.ts";
import { previousResponseIdOf } from "../../src/wire/responses.ts";
import { answerHeaders, answerWhole, pump } from "../inference/answer.ts";
import { type AppEnv, background, errorResponse } from "../context.ts";
import { answerLate, answerLong } from "../inference/late-answer.ts";
import { Patience } from "../patience.ts";
import { type Acceptance, type Job, place, type Placed, type PlaceResult } from "../inference/place.ts";
import { choosePools, type ChosenPools } from "../pools.ts";
import { Ticker } from "../ticker.ts";
import { MOST_BODY_BYTES, type ReadJson, readJson, refusalHeaders } from "../read-json.ts";
import { sha256 } from "../sha256.ts";
import { steadyNowMs } from "../steady-clock.ts";
import { canStore, responseIdOf, resultTicket, storageFull, storedResponse } from "../stored-response.ts";
import { unknownModel } from "./models.ts";

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
  const message = "Previous response not found: it may have been deleted, or made with `store: false`. Send the whole input.";
  return apiError("previous_response_not_found", message, "previous_response_id");
}

async function accept(c: Context<AppEnv>, read: ReadJson): Promise<Accepted | ApiError> {
  const { api, work } = apiRowOf(c.req.path) ?? { api: "chat", work: "generate" };
  const pin = parsePin(c.req.header(HEADER.pin));
  if (!pin.ok) return pin.error;
  const urgent = parseUrgency((name) => c.req.header(name), read.value);
  if (!urgent.ok) return urgent.error;
  const history = api === "responses" ? await historyOf(c, read.value) : NO_HISTORY;
  if ("code" in history) return history;
  const parsed = parserOf(api)(read.value, { headers: (name) => c.req.header(name), history: history.messages, counts: work === "count" });
  if (!parsed.ok) return parsed.error;
  const openTurn = work === "generate" ? openTurnProblem(parsed.request, read.value) : null;
  if (openTurn !== null) return openTurn;
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

/** Nothing of it is waited for any more. */
function end(job: Job): void {
  job.prefilled(null);
  job.ticker.stop();
}

/** A stale card comes from the first pool's first word; whoever has waited since does not begin anew. */
const inTime = (served: Response | PoolCard | ApiError): Response | ApiError =>
  served instanceof Response || "code" in served
    ? served
    : apiError("replica_lost", "The pool changed its hash spec meanwhile. Ask again.");

async function whole(job: Job, placing: Promise<PlaceResult>): Promise<Response | PoolCard | ApiError> {
  const result = await placing;
  if (result.type === "stale_card") return result.card;
  return result.type === "error" ? result.error : answerWhole(job, result.placed);
}

const isStored = ({ request, work }: Pick<Accepted, "request" | "work">): boolean =>
  request.responses?.store === true && work === "generate";

/** Of all tries at a request. */
type Common = Omit<Job, keyof ChosenPools | "ticker" | "accepted">;

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
  return { env: c.env, edge: c.get("edge"), path, request, headers, stored, body, stream, work, ...client };
}

/** The answer, or the pool's card where the one that the prompt was hashed by is old. */
async function serve(c: Context<AppEnv>, common: Omit<Job, "ticker" | "accepted">, ticker: Ticker): Promise<Response | PoolCard> {
  const patience = new Patience<Acceptance>(ticker);
  const job: Job = { ...common, ticker, accepted: (by) => patience.accepted(by) };
  let isLong = false;
  const goOn = (placed: Placed | null, writing: (writable: WritableStream<Uint8Array>) => Promise<void>): Response => {
    isLong = true;
    const headers = answerHeaders(job, placed ?? patience.by);
    return answerLong({ clientLeft: job.clientLeft, end: () => end(job), background: job.background }, headers, writing);
  };
  try {
    const placing = place(job);
    if (job.stream) {
      const result = await Promise.race([placing, patience.over]);
      const pumped = (writable: WritableStream<Uint8Array>): Promise<void> => pump(job, placing, writable);
      if (result === undefined) return goOn(null, pumped);
      if (result.type === "placed" && result.placed.answer.status === 200) return goOn(result.placed, pumped);
    }
    const answering = whole(job, placing);
    const served = await Promise.race([answering, patience.over]);
    if (served === undefined) return goOn(null, (writable) => answerLate(job, answering.then(inTime), writable));
    return !(served instanceof Response) && "code" in served ? errorResponse(c, served) : served;
  } finally {
    patience.stop();
    if (!isLong) end(job);
  }
}

export const inference: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const read = await readJson(c.req.raw);
  return "code" in read ? errorResponse(c, read, refusalHeaders(c.req.raw.headers, read)) : infer(c, read, arrivedAtMs);
};

/** `read`: its body. `arrivedAtMs`: when the request came, before its body. */
export async function infer(c: Context<AppEnv>, read: ReadJson, arrivedAtMs: number): Promise<Response> {
  const accepted = await accept(c, read);
  if ("code" in accepted) return errorResponse(c, accepted);
  // Before anything is computed of what could not be kept.
  if (isStored(accepted) && !(await canStore(c.env))) return errorResponse(c, storageFull());
  const { request, body, historyBytes, work, urgency } = accepted;
  let made: string | null = null;
  const digest = (): string => (made ??= forwardedDigest(sha256, historyBytes, sha256(body)));
  const asked = { request, path: c.req.path, bodyBytes: body.byteLength, digest, counts: work === "count", urgency };
  let common: Common | null = null;
  for (let tries = 0; tries < 2; tries++) {
    const chosen = await choosePools(c, asked);
    if (chosen === null) return unknownModel(c, request.model);
    if ("code" in chosen) return errorResponse(c, chosen);
    // Its stored response has the request's id.
    common ??= jobOf(c, accepted);
    const served = await serve(c, { ...common, ...chosen }, new Ticker(arrivedAtMs));
    if (served instanceof Response) return served;
    c.get("edge").keepCard(served, steadyNowMs());
  }
  return errorResponse(c, { ...apiError("overloaded", "The pool is changing its hash spec. Try again."), retryAfterSeconds: 1 });
}
