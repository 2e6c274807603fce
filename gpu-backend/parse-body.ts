/** A forwarded body: the client's own, behind the conversation so far where the edge keeps that. */
import { setImmediate as others } from "node:timers/promises";
import { type ApiError, apiError } from "../src/errors.ts";
import type { ChatMessage } from "../src/prefix/prompt.ts";
import { APIS } from "../src/wire/apis.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import type { ApiName } from "../src/wire/api-table.ts";
import { decodeJsonBody } from "../src/wire/json-body.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });

interface BodyContext {
  api: ApiName;
  /** So many bytes at its start are the history, as a JSON array of messages. */
  historyBytes: number;
  headers: (name: string) => string | undefined;
  counts: boolean;
}

type ParsedBody = { ok: true; request: InnerRequest } | { ok: false; error: ApiError };

/** Of a long body in steps, so that the streams of others go on between them. */
export async function parseBody(body: Uint8Array, { api, historyBytes, headers, counts }: BodyContext): Promise<ParsedBody> {
  if (!Number.isInteger(historyBytes) || historyBytes < 0 || historyBytes > body.byteLength) {
    return { ok: false, error: apiError("invalid_request", "The body is shorter than its history is said to be.") };
  }
  let history: ChatMessage[] = [];
  if (historyBytes > 0) {
    const decoded = await decodeJsonBody(body.subarray(0, historyBytes), decoder, others);
    if (!decoded.ok) return decoded;
    if (!Array.isArray(decoded.value)) return { ok: false, error: apiError("invalid_request", "The history is not an array of messages.") };
    // The edge's own, made here or in another replica by the same code.
    history = decoded.value as ChatMessage[];
  }
  const json = await decodeJsonBody(body.subarray(historyBytes), decoder, others);
  return json.ok ? APIS[api].parse(json.value, { headers, history, counts }) : json;
}
