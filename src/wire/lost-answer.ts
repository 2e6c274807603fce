/** What a stream says whose replica was lost in the middle of it, in each API's own events: the edge says it, and has not read what went before. */
import type { ApiError } from "../errors.ts";
import { errorBody } from "./envelope.ts";
import type { InnerRequest } from "./inner.ts";
import { openaiErrorBody } from "./openai.ts";
import { responseObject } from "./response-object.ts";
import { WholeAnswer } from "./whole-answer.ts";

/**
 * Of the two events that end a Responses stream, when others went before. Numbers must rise, and the last one is not known here (docs/decisions/0022): these
 * two are the greatest that 32 bits hold.
 */
export const LAST_SEQUENCE_NUMBERS = [2 ** 31 - 2, 2 ** 31 - 1] as const;

interface LostAnswer {
  request: InnerRequest;
  requestId: string;
  /** Of the model, as the answer names it. */
  model: string;
  /** As its first event said, seconds since 1970; null: no event has gone out. */
  createdS: number | null;
  /** Now, seconds since 1970: where no event has gone out. */
  nowS: number;
}

/** Whole events of an event stream. */
export function lostAnswerEvents(lost: LostAnswer, error: ApiError): string {
  const { request, requestId } = lost;
  const { api } = request;
  const body = errorBody(api, error, requestId);
  if (api === "messages") return `event: error\ndata: ${JSON.stringify(body)}\n\n`;
  if (api !== "responses") return `data: ${JSON.stringify(body)}\n\n`;
  return failedResponse(lost, error);
}

/**
 * OpenAI's API sends `error` and then `response.failed`. Its reference has the error's fields beside `type`, its servers send them as `error`, which its clients
 * throw: here they are in both places.
 */
function failedResponse({ request, requestId, model, createdS, nowS }: LostAnswer, error: ApiError): string {
  const [first, second] = createdS === null ? [0, 1] : LAST_SEQUENCE_NUMBERS;
  const { code, message, param } = error;
  const said = { type: "error", sequence_number: first, code, message, param, error: openaiErrorBody(error).error };
  const response = responseObject({ requestId, createdS: createdS ?? nowS, model }, request, new WholeAnswer(), error);
  const failed = { type: "response.failed", sequence_number: second, response };
  return `event: error\ndata: ${JSON.stringify(said)}\n\nevent: response.failed\ndata: ${JSON.stringify(failed)}\n\n`;
}

const CREATED = /"object":"response","created_at":(\d{1,12}),/;

/** When a response was created, by its first event; null when it does not say. */
export function createdSecondsOf(events: string): number | null {
  const seconds = CREATED.exec(events)?.[1];
  return seconds === undefined ? null : Number(seconds);
}
