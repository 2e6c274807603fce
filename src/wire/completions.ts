/** OpenAI's completions API: text, or tokens, that pass no template. */
import { z } from "zod";
import { clip, mustBe, parsing, Refused, refuse } from "./check.ts";
import type { TextPrompt } from "../prefix/prompt.ts";
import type { ParsedRequest } from "./inner.ts";
import { type HeaderReader, NO_HEADERS, sessionOf } from "./session.ts";
import { flag, plainRequest, samplingFields, samplingOf } from "./settings.ts";

/** As OpenAI documents it. */
const DEFAULT_MAX_TOKENS = 16;
/** No vocabulary comes near it; which tokens there are, the engine knows. */
const MOST_TOKEN = 2 ** 31 - 1;

const settings = z.object({
  ...samplingFields,
  echo: flag,
  logprobs: z.int("must be an integer from 0 to 5").min(0, "must be at least 0").max(5, "must be at most 5").nullish(),
  best_of: z.int("must be an integer").min(1, "must be at least 1").nullish(),
  suffix: z.literal("", "is not supported; this model writes forwards only").nullish(),
});

export function parseCompletionRequest(body: unknown, headers: HeaderReader = NO_HEADERS): ParsedRequest {
  return parsing(body, settings, (fields, object) => {
    const prompt = promptOf(object["prompt"]);
    const [n, echo, logprobs] = [fields.n ?? 1, fields.echo ?? false, fields.logprobs ?? null];
    if (fields.best_of != null && fields.best_of !== n) {
      throw new Refused(refuse("best_of", "must equal `n`; picking the best of more is not supported."));
    }
    if (echo && logprobs !== null) {
      throw new Refused(refuse("echo", "cannot go with `logprobs`; the prompt's own tokens have none here."));
    }
    if (echo && prompt.tokens !== undefined) throw new Refused(refuse("echo", "cannot go with a prompt of tokens; send its text."));
    return {
      ...plainRequest("completions", fields.model, prompt, sessionOf(object, headers)),
      ...samplingOf(fields, object),
      maxTokens: fields.max_tokens ?? DEFAULT_MAX_TOKENS,
      logprobs,
      echo,
    };
  });
}

/** One prompt: a text, tokens, or an array of one of these. Several are parted before (several-prompts.ts). */
function promptOf(prompt: unknown): TextPrompt {
  if (typeof prompt === "string") return { text: nonEmpty(prompt, "prompt") };
  if (!Array.isArray(prompt) || prompt.length === 0)
    throw new Refused(mustBe("prompt", "a string, or an array of strings or tokens", prompt));
  const [first] = prompt as unknown[];
  if (typeof first === "number") return tokensPrompt(prompt, "prompt");
  if (prompt.length > 1) throw new Refused(refuse("prompt", `has ${clip(String(prompt.length))} prompts; send one a request.`));
  if (Array.isArray(first) && first.length > 0) return tokensPrompt(first, "prompt[0]");
  if (typeof first !== "string") throw new Refused(mustBe("prompt[0]", "a string or an array of tokens", first));
  return { text: nonEmpty(first, "prompt[0]") };
}

function tokensPrompt(tokens: readonly unknown[], at: string): TextPrompt {
  const numbers = tokens.map((token, index): number => {
    if (typeof token !== "number") throw new Refused(mustBe(`${at}[${index}]`, "a token, as all before it", token));
    if (!Number.isInteger(token) || token < 0 || token > MOST_TOKEN)
      throw new Refused(refuse(`${at}[${index}]`, "must be a token's number."));
    return token;
  });
  return { text: numbers.map((token) => `${token},`).join(""), tokens: numbers };
}

function nonEmpty(text: string, at: string): string {
  if (text === "") throw new Refused(refuse(at, "must not be empty."));
  return text;
}
