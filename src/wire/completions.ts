/** OpenAI's completions API: text that passes no template. */
import { z } from "zod";
import { clip, mustBe, parsing, Refused, refuse } from "./check.ts";
import type { ParsedRequest } from "./inner.ts";
import { type HeaderReader, NO_HEADERS, sessionOf } from "./session.ts";
import { flag, plainRequest, samplingFields, samplingOf } from "./settings.ts";

/** As OpenAI documents it. */
const DEFAULT_MAX_TOKENS = 16;

const settings = z.object({
  ...samplingFields,
  echo: flag,
  logprobs: z.int("must be an integer from 0 to 5").min(0, "must be at least 0").max(5, "must be at most 5").nullish(),
  best_of: z.int("must be an integer").min(1, "must be at least 1").nullish(),
  suffix: z.literal("", "is not supported; this model writes forwards only").nullish(),
});

export function parseCompletionRequest(body: unknown, headers: HeaderReader = NO_HEADERS): ParsedRequest {
  return parsing(body, settings, (fields, object) => {
    const text = promptText(object["prompt"]);
    const [n, echo, logprobs] = [fields.n ?? 1, fields.echo ?? false, fields.logprobs ?? null];
    if (fields.best_of != null && fields.best_of !== n) {
      throw new Refused(refuse("best_of", "must equal `n`; picking the best of more is not supported."));
    }
    if (echo && logprobs !== null) {
      throw new Refused(refuse("echo", "cannot go with `logprobs`; the prompt's own tokens have none here."));
    }
    return {
      ...plainRequest("completions", fields.model, { text }, sessionOf(object, headers)),
      ...samplingOf(fields, object),
      maxTokens: fields.max_tokens ?? DEFAULT_MAX_TOKENS,
      logprobs,
      echo,
    };
  });
}

function promptText(prompt: unknown): string {
  if (typeof prompt === "string") return nonEmpty(prompt, "prompt");
  if (!Array.isArray(prompt) || prompt.length === 0) throw new Refused(mustBe("prompt", "a string", prompt));
  const [first] = prompt as unknown[];
  if (typeof first === "number" || Array.isArray(first)) {
    throw new Refused(refuse("prompt", "is an array of tokens, which is not supported; send text."));
  }
  if (prompt.length > 1) throw new Refused(refuse("prompt", `has ${clip(String(prompt.length))} prompts; send one a request.`));
  if (typeof first !== "string") throw new Refused(mustBe("prompt[0]", "a string", first));
  return nonEmpty(first, "prompt[0]");
}

function nonEmpty(text: string, at: string): string {
  if (text === "") throw new Refused(refuse(at, "must not be empty."));
  return text;
}
