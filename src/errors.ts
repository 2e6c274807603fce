/**
 * What may go wrong on a caller's side or on ours, independent of any API's envelope. `src/wire` puts it into the caller's own shape.
 * Match on `code`, never on the message.
 */

interface ErrorKind {
  /** HTTP status, OpenAI's; Anthropic's own are in src/wire/envelope.ts. */
  status: number;
  /** Who has to mend it. edge: the edge used a replica wrongly, or too late. */
  fault: "caller" | "edge" | "server";
  /** Whether the same request can succeed if it is sent again. after: something that the caller keeps, sends or pays must change first. */
  retry: "never" | "after" | "later";
}

/** Every code. The comment says what happened. */
export const ERRORS = {
  /** The body is no JSON, not UTF-8, has a wrong type or value. */
  invalid_request: { status: 400, fault: "caller", retry: "never" },
  /** The response that a new one is to follow is not stored. */
  previous_response_not_found: { status: 400, fault: "caller", retry: "never" },
  /** Prompt plus output do not fit the model's context. */
  context_length_exceeded: { status: 400, fault: "caller", retry: "never" },
  /** No key, or one that this deployment never issued. */
  invalid_api_key: { status: 401, fault: "caller", retry: "never" },
  /** No join token of this pool. */
  invalid_join_token: { status: 401, fault: "caller", retry: "never" },
  /** Not for a page of a browser. */
  forbidden: { status: 403, fault: "caller", retry: "never" },
  /** The caller keeps as much as it may: it has to delete something first. */
  quota_exceeded: { status: 403, fault: "caller", retry: "after" },
  /** A replica was given no valid admission. */
  invalid_admission: { status: 403, fault: "edge", retry: "never" },
  /** No pool serves this model. */
  model_not_found: { status: 404, fault: "caller", retry: "never" },
  /** No such route or record. */
  not_found: { status: 404, fault: "caller", retry: "never" },
  /** The route exists, not with this method. */
  method_not_allowed: { status: 405, fault: "caller", retry: "never" },
  /** The rest of the body did not come. */
  request_timeout: { status: 408, fault: "caller", retry: "later" },
  /** The replica began a new epoch after the pool had decided; the edge asks the pool again. */
  epoch_replaced: { status: 409, fault: "edge", retry: "later" },
  /** The body is larger than we take. */
  request_too_large: { status: 413, fault: "caller", retry: "never" },
  /** The body is in a content type or coding that we do not take. */
  unsupported_media_type: { status: 415, fault: "caller", retry: "never" },
  /** The caller asks more in a minute, or at once, than its limits allow. */
  rate_limit_exceeded: { status: 429, fault: "caller", retry: "later" },
  /** The money that the caller may spend in this time is spent. */
  budget_exceeded: { status: 429, fault: "caller", retry: "after" },
  /** A bug. */
  internal: { status: 500, fault: "server", retry: "later" },
  /** The replica was lost and no other could take over. */
  replica_lost: { status: 502, fault: "server", retry: "later" },
  /** Every replica is full, or none is there. */
  overloaded: { status: 503, fault: "server", retry: "later" },
  /** What is to be kept has no room, or can't be reached: it may go without keeping it. */
  storage_full: { status: 503, fault: "server", retry: "later" },
} as const satisfies Readonly<Record<string, ErrorKind>>;

export type ErrorCode = keyof typeof ERRORS;

export interface ApiError {
  code: ErrorCode;
  /** HTTP status. */
  status: number;
  /** What is wrong and what to do. */
  message: string;
  /** Path of the offending field, as `messages[0].content`; null when no field is to blame. */
  param: string | null;
  /** Seconds; only with codes whose `retry` is "later". */
  retryAfterSeconds?: number;
}

/** Both may name what the caller wrote, which has up to 8 MiB; whoever writes errors down has one line for each. */
const MOST_MESSAGE = 800;
const MOST_PARAM = 200;

/** `text` of at most `most` UTF-16 units, without half a character at its end. */
function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** `message` is cut after 800 characters, `param` after 200. */
export function apiError(code: ErrorCode, message: string, param: string | null = null): ApiError {
  return { code, status: ERRORS[code].status, message: shortened(message, MOST_MESSAGE), param: param === null ? null : shortParam(param) };
}

/** A field's path as errors name it. */
export function shortParam(param: string): string {
  return shortened(param, MOST_PARAM);
}
