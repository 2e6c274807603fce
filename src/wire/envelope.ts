/** The shape of errors, by API. Edge and replica share it. */
import { type ApiError, apiError, type ErrorCode, ERRORS } from "../errors.ts";
import { API_FACTS, apiRowOf, type ApiName } from "./api-table.ts";
import { isObject } from "./check.ts";
import { type OpenaiErrorBody, openaiErrorBody } from "./openai.ts";

/** Of a URL's path, as it stands, when an answer is written there. */
export function apiOfPath(path: string): ApiName | null {
  const row = apiRowOf(path);
  return row?.work === "generate" ? row.api : null;
}

type AnthropicErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "billing_error"
  | "permission_error"
  | "not_found_error"
  | "request_too_large"
  | "rate_limit_error"
  | "api_error"
  | "overloaded_error";

/** Anthropic has no `param`; the message names the field. */
interface AnthropicErrorBody {
  type: "error";
  error: { type: AnthropicErrorType; message: string };
  request_id: string;
}

/** By Anthropic's own status. */
const TYPE_OF_STATUS: ReadonlyMap<number, AnthropicErrorType> = new Map([
  [401, "authentication_error"],
  [402, "billing_error"],
  [403, "permission_error"],
  [404, "not_found_error"],
  [413, "request_too_large"],
  [429, "rate_limit_error"],
  [529, "overloaded_error"],
]);
/** Where Anthropic's status is another: its clients take 402 for money that is spent and 529 for a full fleet. */
const ANTHROPIC_STATUS: Partial<Record<ErrorCode, number>> = { budget_exceeded: 402, overloaded: 529 };

function anthropicErrorType(error: Pick<ApiError, "code" | "status">): AnthropicErrorType {
  const status = anthropicStatus(error);
  return TYPE_OF_STATUS.get(status) ?? (status >= 500 ? "api_error" : "invalid_request_error");
}

export function anthropicStatus({ code, status }: Pick<ApiError, "code" | "status">): number {
  return status === ERRORS[code].status ? (ANTHROPIC_STATUS[code] ?? status) : status;
}

/** `anthropic-models`: Anthropic's clients on `/v1/models`. null = a path of ours, answered as OpenAI's. */
export type ErrorApi = ApiName | "anthropic-models";

function isAnthropic(api: ErrorApi): boolean {
  return api === "anthropic-models" || API_FACTS[api].errors === "anthropic";
}

export function errorBody(api: ErrorApi, error: ApiError, requestId: string): OpenaiErrorBody | AnthropicErrorBody {
  if (!isAnthropic(api)) return openaiErrorBody(error);
  return { type: "error", error: { type: anthropicErrorType(error), message: error.message }, request_id: requestId };
}

export function errorStatus(api: ErrorApi, error: ApiError): number {
  return isAnthropic(api) ? anthropicStatus(error) : error.status;
}

/** What tells a client whether to send it again: vendors' clients try again after any 429, also where that cannot help. */
export function retryHeaders({ code, retryAfterSeconds }: ApiError): Record<string, string> {
  if (ERRORS[code].retry === "after") return { "x-should-retry": "false" };
  return retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) };
}

/** A caller's error out of the envelope that it came in, either vendor's: for who must say it in another way. */
export function errorOfBody(body: unknown): ApiError {
  const said = isObject(body) && isObject(body["error"]) ? body["error"] : {};
  const { message, param, code } = said;
  return apiError(
    code === "context_length_exceeded" ? code : "invalid_request",
    typeof message === "string" ? message : "The replica refused the request.",
    typeof param === "string" ? param : null,
  );
}
