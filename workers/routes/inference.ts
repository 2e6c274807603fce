/** Every request that a replica answers, whichever API it came through: path → API → prompt → chain → place → answer. */
import type { Context, Handler } from "hono";
import xxhash from "xxhash-wasm";
import { type ApiError, apiError } from "../../src/errors.ts";
import { chainOf, chainRoot, type Hash64 } from "../../src/prefix/chain.ts";
import type { ChatMessage } from "../../src/prefix/prompt.ts";
import { PromptEncoder } from "../../src/prefix/prompt-encoder.ts";
import { specFingerprint } from "../../src/prefix/segment.ts";
import type { DecideRequest, PoolCard } from "../../src/routing/dispatcher.ts";
import { parserOf } from "../../src/wire/envelope.ts";
import { HEADER } from "../../src/wire/headers.ts";
import type { InnerRequest } from "../../src/wire/inner.ts";
import { parsePin, pinOfMessages } from "../../src/wire/pin.ts";
import { previousResponseIdOf } from "../../src/wire/responses.ts";
import { answerHeaders, answerWhole, isEventStream, pump } from "../answer.ts";
import { apiOfRequest, type AppEnv, background, errorResponse, type Work } from "../context.ts";
import { type Job, place, type Placed, type PlaceResult } from "../place.ts";
import { keepCard, poolCard } from "../pool-card.ts";
import { MOST_BODY_BYTES, readJson } from "../read-json.ts";
import { mintPlacedRequestId } from "../request-id.ts";
import { openResponse, storedResponse } from "../stored-response.ts";
import { unknownModel } from "./models.ts";

const STREAM_PATIENCE_MS = 10_000;

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
const promptEncoder = new PromptEncoder(hash64);

interface Accepted {
  request: InnerRequest;
  /** What the replica gets: the conversation so far where a stored response holds it, then the client's own body. */
  body: Uint8Array;
  historyBytes: number;
  /** Only what generates streams or is stored; counts run no engine. */
  work: Work;
  /** For how long its prompt's blocks are to stay; null: as long as there is room. */
  pinMs: number | null;
}

interface History {
  bytes: Uint8Array;
  messages: readonly ChatMessage[];
}

const NO_HISTORY: History = { bytes: new Uint8Array(), messages: [] };

async function historyOf(c: Context<AppEnv>, value: unknown): Promise<History | ApiError> {
  const previous = previousResponseIdOf(value);
  if (previous === null) return NO_HISTORY;
  const text = (await storedResponse(c.env, c.get("tenant"), previous)?.history()) ?? null;
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
  const history = api === "responses" ? await historyOf(c, read.value) : NO_HISTORY;
  if ("code" in history) return history;
  const parsed = parserOf(api)(read.value, { headers: (name) => c.req.header(name), history: history.messages, counts: work === "count" });
  if (!parsed.ok) return parsed.error;
  const historyBytes = history.bytes.byteLength;
  const pinMs = pin.pinMs ?? (api === "messages" ? pinOfMessages(read.value) : null);
  const accepted = { request: parsed.request, historyBytes, work, pinMs };
  if (historyBytes === 0) return { ...accepted, body: read.bytes };
  if (historyBytes + read.bytes.byteLength > MOST_BODY_BYTES) {
    return apiError("request_too_large", "The conversation is larger than 8 MiB by now. Begin a new one.", "previous_response_id");
  }
  return { ...accepted, body: Buffer.concat([history.bytes, read.bytes]) };
}

async function cardOf(c: Context<AppEnv>, model: string): Promise<PoolCard | undefined> {
  for (const pool of c.get("config").pools) {
    const card = await poolCard(c.env, pool, background(c));
    if (card.model === model) return card;
  }
  return undefined;
}

function decideRequest(
  c: Context<AppEnv>,
  card: PoolCard,
  { body, request, work }: Accepted,
  arrivedAtMs: number,
): Omit<DecideRequest, "failed"> {
  const salt = c.get("config").saltOf(c.get("tenant"));
  const bytes = promptEncoder.encode(request.prompt, card.hashSpec.order);
  const root = chainRoot(hash64, { spec: card.hashSpec, model: request.model, adapter: null, salt });
  const chain = chainOf(hash64, root, bytes, card.hashSpec.schedule);
  return {
    id: c.get("requestId"),
    tenant: c.get("tenant"),
    salt,
    fingerprint: specFingerprint(card.hashSpec),
    chain: chain.hashes,
    promptBytes: bytes.length,
    bodyBytes: body.byteLength,
    arrivedAtMs,
    session: request.session,
    counts: work === "count",
  };
}

/** What `placing` comes to, or "waiting" when that takes longer. */
async function within(placing: Promise<PlaceResult>, ms: number): Promise<PlaceResult | "waiting"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise<"waiting">((resolve) => (timer = setTimeout(resolve, ms, "waiting")));
  const result = await Promise.race([placing, patience]);
  clearTimeout(timer);
  return result;
}

function answerStream(c: Context<AppEnv>, job: Job, placing: Promise<PlaceResult>, placed: Placed | null): Response {
  const { readable, writable } = new IdentityTransformStream();
  // Rejects only when the client has gone, and then nobody is left to tell.
  background(c)(pump(job, placing, writable).catch(() => placed?.cancel()));
  return new Response(readable, { headers: answerHeaders(job, placed) });
}

function jobOf(c: Context<AppEnv>, { request, body, historyBytes, work, pinMs }: Accepted): Omit<Job, "pool" | "decide"> {
  const headers: Record<string, string> = {};
  if (historyBytes > 0) headers[HEADER.historyBytes] = String(historyBytes);
  if (pinMs !== null && work !== "count") headers[HEADER.pinMs] = String(pinMs);
  const { path } = c.req;
  let stored: Job["stored"] = null;
  let opened: Promise<void> = Promise.resolve();
  if (request.responses?.store === true && work === "generate") {
    const { ticket, object, opening } = openResponse(c.env, c.get("tenant"), c.get("requestId"));
    headers[HEADER.resultTicket] = ticket;
    stored = object;
    opened = opening;
  }
  const stream = request.stream && work === "generate";
  return { env: c.env, path, api: request.api, headers, stored, opened, body, stream, work, clientSignal: c.req.raw.signal };
}

export const inference: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const accepted = await accept(c);
  if ("code" in accepted) return errorResponse(c, accepted);
  let card = await cardOf(c, accepted.request.model);
  if (card === undefined) return unknownModel(c, accepted.request.model);
  c.set("requestId", mintPlacedRequestId(c.get("config"), c.get("tenant"), card.pool));
  const common = jobOf(c, accepted);
  for (let tries = 0; tries < 2; tries++) {
    const job: Job = { ...common, pool: card.pool, decide: decideRequest(c, card, accepted, arrivedAtMs) };
    const placing = place(job);
    // For so long a refusal can still be a real status; then a stream gets its headers and waits on with comments.
    const result = job.stream ? await within(placing, STREAM_PATIENCE_MS) : await placing;
    if (result === "waiting") return answerStream(c, job, placing, null);
    if (result.type === "error") return errorResponse(c, result.error);
    if (result.type === "placed") {
      const { placed } = result;
      if (isEventStream(placed)) return answerStream(c, job, placing, placed);
      const whole = await answerWhole(job, placed);
      return "code" in whole ? errorResponse(c, whole) : whole;
    }
    keepCard(result.card);
    card = result.card;
  }
  return errorResponse(c, { ...apiError("overloaded", "The pool is changing its hash spec. Try again."), retryAfterSeconds: 1 });
};
