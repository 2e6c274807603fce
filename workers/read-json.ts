/** From a request to its JSON: content type, coding, size and text are checked here, once for all routes. */
import { gunzipSync, inflateRawSync, inflateSync } from "node:zlib";
import { type ApiError, apiError } from "../src/errors.ts";
import { decodeJsonBody } from "../src/wire/json-body.ts";
import { readBody } from "./read-body.ts";

export const MOST_BODY_BYTES = 8 * 1024 * 1024;

/** `text/plain` is what `fetch` writes over a text when its caller named no type. */
const TAKEN_TYPE = /^(?:application\/json|[\w.+-]+\/[\w.+-]+\+json|text\/plain)$/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

export interface ReadJson {
  /** Without content coding. */
  bytes: Uint8Array;
  value: unknown;
}

/** Whatever else waits for this thread comes first. */
const others = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 0));

type Unpacked = { ok: true; bytes: Uint8Array } | { ok: false; error: ApiError };

const tooLarge = (limit: number): ApiError =>
  apiError("request_too_large", `The body is larger than ${limit / 1024 / 1024} MiB. Send a shorter prompt.`);

/** Begins as RFC 1950 has it. Some clients send deflate's bits alone (RFC 1951), and most servers take those too. */
function isZlib(bytes: Uint8Array): boolean {
  const [method = 0, flags = 0] = bytes;
  return (method & 0x0f) === 8 && (method * 256 + flags) % 31 === 0;
}

/** Stops as soon as the output passes the limit, however small the input was. */
function unpack(bytes: Uint8Array, coding: "gzip" | "deflate", limit: number): Unpacked {
  const inflate = isZlib(bytes) ? inflateSync : inflateRawSync;
  try {
    return { ok: true, bytes: (coding === "gzip" ? gunzipSync : inflate)(bytes, { maxOutputLength: limit }) };
  } catch (error) {
    // Node's own zlib has a code for it, workerd's throws a RangeError.
    if (error instanceof RangeError) return { ok: false, error: tooLarge(limit) };
    return { ok: false, error: apiError("invalid_request", `The body is not valid ${coding}; see its content-encoding.`) };
  }
}

/** On a refusal of the content coding: what is taken. A refusal of the media type has none, so that a client can tell the two apart (RFC 9110, 12.5.3). */
export function refusalHeaders(headers: Headers, { code }: ApiError): Record<string, string> {
  return code === "unsupported_media_type" && isTakenType(headers) ? { "accept-encoding": "gzip, deflate" } : {};
}

/** Two lengths: one server's end of the body is another's next request. */
function transferred(headers: Headers): boolean {
  return headers.has("transfer-encoding") && headers.has("content-length");
}

function isTakenType(headers: Headers): boolean {
  const type = headers.get("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "";
  return type === "" || TAKEN_TYPE.test(type);
}

/** The first reason why the headers alone refuse the body, or its coding. */
function codingOf(headers: Headers): { ok: true; coding: "gzip" | "deflate" | null } | { ok: false; error: ApiError } {
  const transfer = headers.get("transfer-encoding")?.trim().toLowerCase() ?? "chunked";
  if (transfer !== "chunked") {
    return {
      ok: false,
      error: apiError("invalid_request", "This transfer-encoding is not taken. Send a content-length, or `chunked` alone."),
    };
  }
  if (transferred(headers)) {
    return { ok: false, error: apiError("invalid_request", "Content-length and transfer-encoding exclude each other. Send one of them.") };
  }
  if (!isTakenType(headers)) {
    const message = "The content-type is not JSON. Send the header `content-type: application/json`.";
    return { ok: false, error: apiError("unsupported_media_type", message) };
  }
  const coding = headers.get("content-encoding")?.trim().toLowerCase() ?? "";
  if (coding === "" || coding === "identity") return { ok: true, coding: null };
  if (coding === "gzip" || coding === "x-gzip") return { ok: true, coding: "gzip" };
  if (coding === "deflate") return { ok: true, coding: "deflate" };
  const message = "This content-encoding is not taken. Send the body as it is, or with `content-encoding: gzip` or `deflate`.";
  return { ok: false, error: apiError("unsupported_media_type", message) };
}

export async function readJson(request: Request, limit = MOST_BODY_BYTES): Promise<ReadJson | ApiError> {
  const told = codingOf(request.headers);
  // Read all the same: cut off while it sends, a client sees a reset and no answer.
  const raw = await readBody(request, limit);
  if (raw === "late") return apiError("request_timeout", "The rest of the body did not come. Send the request again.");
  // Nobody hears it.
  if (raw === "gone") return apiError("invalid_request", "The body broke off. Send the request again.");
  if (!told.ok) return told.error;
  if (raw === null) return tooLarge(limit);
  const unpacked: Unpacked = told.coding === null ? { ok: true, bytes: raw } : unpack(raw, told.coding, limit);
  if (!unpacked.ok) return unpacked.error;
  const json = await decodeJsonBody(unpacked.bytes, decoder, others);
  return json.ok ? { bytes: unpacked.bytes, value: json.value } : json.error;
}
