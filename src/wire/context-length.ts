/** A prompt that the model's context does not hold: the edge says so where its bytes alone show it, else the replica that tokenized it. */
import { type ApiError, apiError } from "../errors.ts";
import { API_FACTS } from "./api-table.ts";
import type { InnerRequest } from "./inner.ts";

/** Where the prompt stands in the caller's body. */
export function promptParam({ api }: Pick<InnerRequest, "api">): string {
  return API_FACTS[api].promptParam;
}

export interface PromptExcess {
  promptTokens: number;
  /** False: it has more tokens than `promptTokens`. */
  exact: boolean;
  contextTokens: number;
}

/** Frameworks know an overflow by these words of the vendors, not by its code (LangChain, LiteLLM). */
export function contextLengthError(request: Pick<InnerRequest, "api">, { promptTokens, exact, contextTokens }: PromptExcess): ApiError {
  const tokens = `${exact ? "" : "at least "}${promptTokens} tokens`;
  const param = promptParam(request);
  const message =
    request.api === "messages"
      ? `prompt is too long: ${tokens} > ${contextTokens - 1} maximum. Shorten \`messages\`.`
      : `This model's maximum context length is ${contextTokens} tokens. However, your prompt has ${tokens} and an answer needs room too. Input tokens exceed the configured limit: send a shorter prompt.`;
  return apiError("context_length_exceeded", message, param);
}
