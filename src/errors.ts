/**
 * What may go wrong on a caller's side or on ours, independent of any API's envelope. `src/wire` puts it into the caller's own shape.
 * Match on `code`, never on the message.
 */
export type ErrorCode =
  /** The caller's: the body is no JSON, not UTF-8, has a wrong type or value. */
  | "invalid_request"
  /** The caller's: no key, or one that this deployment never issued. */
  | "invalid_api_key"
  /** The caller's: no join token of this pool. */
  | "invalid_join_token"
  /** The caller's: not for a page of a browser. */
  | "forbidden"
  /** The caller's: the rest of the body did not come. */
  | "request_timeout"
  /** The caller's: no pool serves this model. */
  | "model_not_found"
  /** The caller's: no such route or record. */
  | "not_found"
  /** The caller's: the response that a new one is to follow is not stored. */
  | "previous_response_not_found"
  /** The caller's: the route exists, not with this method. */
  | "method_not_allowed"
  /** The caller's: the body is larger than we take. */
  | "request_too_large"
  /** The caller's: the body is in a content type or coding that we do not take. */
  | "unsupported_media_type"
  /** The caller's: prompt plus output do not fit the model's context. */
  | "context_length_exceeded"
  /** Ours: every replica is full, or none is there; retry later. */
  | "overloaded"
  /** Ours: what is to be kept has no room, or can't be reached; retry later, or without keeping it. */
  | "storage_full"
  /** Ours: the replica was lost and no other could take over. */
  | "replica_lost"
  /** The edge's: a replica was given no valid admission. */
  | "invalid_admission"
  /** Nobody's: the replica began a new epoch after the pool had decided; the edge asks the pool again. */
  | "epoch_replaced"
  /** Ours: a bug. */
  | "internal";

export interface ApiError {
  code: ErrorCode;
  /** HTTP status. */
  status: number;
  /** What is wrong and what to do. */
  message: string;
  /** Path of the offending field, as `messages[0].content`; null when no field is to blame. */
  param: string | null;
  /** Seconds; only with `overloaded` and `storage_full`. */
  retryAfterSeconds?: number;
}

/** HTTP status of each code. */
export const ERROR_STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_request: 400,
  invalid_api_key: 401,
  invalid_join_token: 401,
  forbidden: 403,
  request_timeout: 408,
  model_not_found: 404,
  not_found: 404,
  previous_response_not_found: 400,
  method_not_allowed: 405,
  request_too_large: 413,
  unsupported_media_type: 415,
  context_length_exceeded: 400,
  overloaded: 503,
  storage_full: 503,
  replica_lost: 502,
  invalid_admission: 403,
  epoch_replaced: 409,
  internal: 500,
};

/** Both may name what the caller wrote, which has up to 8 MiB; whoever writes errors down has one line for each. */
const MOST_MESSAGE = 800;
const MOST_PARAM = 200;

/** `text` of at most `most` UTF-16 units, without half a character at its end. */
function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** `message` is cut after 800 characters, `param` after 200. */
export function apiError(code: ErrorCode, message: string, param: string | null = null): ApiError {
  return { code, status: ERROR_STATUS[code], message: shortened(message, MOST_MESSAGE), param: param === null ? null : shortParam(param) };
}

/** A field's path as errors name it. */
export function shortParam(param: string): string {
  return shortened(param, MOST_PARAM);
}
