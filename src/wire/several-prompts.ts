/**
 * Several prompts in one request of OpenAI's completions API. Each is a request of its own, which goes where its own prefix is cached; their
 * answers are one answer, whose choices are counted through: prompt p's choice c of n has the index p·n + c, as OpenAI's.
 */
import { type ApiError } from "../errors.ts";
import { isObject, type Json, refuse } from "./check.ts";

/** Choices of all prompts together, as OpenAI has it. */
const MOST_CHOICES = 128;

/** The prompts where there are several, else null: then the body is a request by itself, right or wrong. */
export function severalPrompts(body: unknown): { prompts: readonly unknown[]; n: number } | null {
  if (!isObject(body)) return null;
  const { prompt, n } = body;
  if (!Array.isArray(prompt) || prompt.length < 2 || typeof prompt[0] === "number") return null;
  return { prompts: prompt, n: typeof n === "number" && Number.isInteger(n) && n >= 1 ? n : 1 };
}

export function tooManyChoices({ prompts, n }: { prompts: readonly unknown[]; n: number }): ApiError | null {
  return prompts.length * n > MOST_CHOICES
    ? refuse("prompt", `has ${prompts.length} prompts of ${n} choices each; at most ${MOST_CHOICES} choices a request are possible.`)
    : null;
}

/** The body of one prompt alone. */
export function bodyOfPrompt(body: Json, prompt: unknown): Json {
  return { ...body, prompt };
}

/** An error of one prompt's request, with its path in the body of all. */
export function errorOfPrompt(error: ApiError, index: number): ApiError {
  const { param, message } = error;
  if (param !== "prompt" && param?.startsWith("prompt[") !== true) return error;
  const there = `prompt[${index}]${param.slice("prompt".length)}`;
  return { ...error, param: there, message: message.replace(`\`${param}\``, `\`${there}\``) };
}

/** Usage as completions tell it: the sum, details included. */
export class UsageSum {
  #sum: Record<string, unknown> = {};

  add(usage: unknown): void {
    if (isObject(usage)) this.#sum = summed(this.#sum, usage);
  }

  get whole(): Json {
    return this.#sum;
  }
}

function summed(left: Json, right: Json): Record<string, unknown> {
  const sum: Record<string, unknown> = { ...left };
  for (const [name, value] of Object.entries(right)) {
    const before = sum[name];
    if (typeof value === "number") sum[name] = (typeof before === "number" ? before : 0) + value;
    else if (isObject(value)) sum[name] = summed(isObject(before) ? before : {}, value);
  }
  return sum;
}

/** The choices of one prompt's answer or chunk, counted among all. */
export function shiftedChoices(answer: Json, from: number): Json[] {
  const { choices } = answer;
  if (!Array.isArray(choices)) return [];
  return choices
    .filter(isObject)
    .map((choice) => ({ ...choice, index: from + (typeof choice["index"] === "number" ? choice["index"] : 0) }));
}

/** One answer of all, in the order of their prompts. Id, model and time are the first one's. */
export function mergedCompletion(answers: readonly Json[], n: number): Json {
  const usage = new UsageSum();
  for (const answer of answers) usage.add(answer["usage"]);
  return { ...answers[0], choices: answers.flatMap((answer, index) => shiftedChoices(answer, index * n)), usage: usage.whole };
}
