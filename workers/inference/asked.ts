/** From a body to what is asked: path → API → prompt, with the conversation that a stored response holds. */
import { type ApiError, apiError } from "../../src/errors.ts";
import type { ChatMessage } from "../../src/prefix/prompt.ts";
import { apiRowOf } from "../../src/wire/api-table.ts";
import { APIS } from "../../src/wire/apis.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { openTurnProblem } from "../../src/wire/open-turn.ts";
import { parsePin, pinOfMessages } from "../../src/wire/pin.ts";
import { previousResponseIdOf } from "../../src/wire/responses.ts";
import { parseUrgency } from "../../src/wire/urgency.ts";
import type { Env } from "../env.ts";
import { MOST_BODY_BYTES, type ReadJson } from "../read-json.ts";
import { storedResponse } from "../stored-response.ts";
import type { Asked } from "./call.ts";

/** A request as it came. */
interface Received {
  tenant: string;
  path: string;
  /** By its name in lower case. */
  header: (name: string) => string | undefined;
  read: ReadJson;
}

interface History {
  bytes: Uint8Array;
  messages: readonly ChatMessage[];
}

const NO_HISTORY: History = { bytes: new Uint8Array(), messages: [] };

async function historyOf(env: Env, tenant: string, value: unknown): Promise<History | ApiError> {
  const previous = previousResponseIdOf(value);
  if (previous === null) return NO_HISTORY;
  const text = (await storedResponse(env, tenant, previous)?.read("messages")) ?? null;
  if (text !== null && typeof text !== "string") return text;
  if (text !== null) return { bytes: new TextEncoder().encode(text), messages: JSON.parse(text) as ChatMessage[] };
  const message = "Previous response not found: it may have been deleted, or made with `store: false`. Send the whole input.";
  return apiError("previous_response_not_found", message, "previous_response_id");
}

export async function askedOf(env: Env, { tenant, path, header, read }: Received): Promise<Asked | ApiError> {
  const { api, work } = apiRowOf(path) ?? { api: "chat", work: "generate" };
  const pin = parsePin(header(HEADER.pin));
  if (!pin.ok) return pin.error;
  const urgent = parseUrgency(header, read.value);
  if (!urgent.ok) return urgent.error;
  const history = api === "responses" ? await historyOf(env, tenant, read.value) : NO_HISTORY;
  if ("code" in history) return history;
  const parsed = APIS[api].parse(read.value, { headers: header, history: history.messages, counts: work === "count" });
  if (!parsed.ok) return parsed.error;
  const { request } = parsed;
  const openTurn = work === "generate" ? openTurnProblem(request, read.value) : null;
  if (openTurn !== null) return openTurn;
  const historyBytes = history.bytes.byteLength;
  const pinMs = pin.pinMs ?? (api === "messages" ? pinOfMessages(read.value) : null);
  const asked = { tenant, path, request, historyBytes, work, pinMs, urgency: urgent.urgency };
  if (historyBytes === 0) return { ...asked, body: read.bytes };
  if (historyBytes + read.bytes.byteLength > MOST_BODY_BYTES) {
    return apiError("request_too_large", "The conversation is larger than 8 MiB by now. Begin a new one.", "previous_response_id");
  }
  return { ...asked, body: Buffer.concat([history.bytes, read.bytes]) };
}
