/** Settings that more than one API has: their schemas, and the fields of an inner request that follow from them. */
import { z } from "zod";
import type { ChatPrompt, TextPrompt, Tool } from "../prefix/prompt.ts";
import { clip, isObject, type Json, mustBe, quoted, Refused, refuse, wantObject, wantString } from "./check.ts";
import type { InnerRequest, ReasoningEffort, ResponseFormat, ToolChoice } from "./inner.ts";
import type { ApiName } from "./api-table.ts";

const MAX_BIASES = 1_024;
const NAME = /^[\w.-]{1,64}$/;

export const model = z.string("must be a string, the name of a model").min(1, "must not be empty; name a model");
export const flag = z.boolean("must be true or false").nullish();
export const tokenLimit = z.int("must be an integer of at least 1").min(1, "must be at least 1").nullish();
export const topP = z.number("must be a number from 0 to 1").min(0, "must be at least 0").max(1, "must be at most 1").nullish();
const stopText = z.string("must be a string or an array of up to 4 strings").min(1, "must not be an empty string");
export const penalty = z.number("must be a number from -2 to 2").min(-2, "must be at least -2").max(2, "must be at most 2").nullish();
export const topLogprobs = z.int("must be an integer from 0 to 20").min(0, "must be at least 0").max(20, "must be at most 20").nullish();
export const temperature = z.number("must be a number from 0 to 2").min(0, "must be at least 0").max(2, "must be at most 2").nullish();

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const satisfies readonly ReasoningEffort[];
export const effort = z.enum(EFFORTS, `must be one of ${quoted(EFFORTS)}`).nullish();

/** 64 bits with a sign, as clients in other languages draw them; a number of JSON is not exact beyond 2^53, which only means another seed. */
const MOST_SEED = 2 ** 63;
const seed = z
  .number("must be an integer")
  .refine(Number.isInteger, "must be an integer")
  .min(-MOST_SEED, "must be at least -2^63")
  .max(MOST_SEED, "must be at most 2^63")
  .nullish();

/** Chat's and completions' alike. */
export const samplingFields = {
  model,
  stream: flag,
  stream_options: z.object({ include_usage: flag }, "must be an object").nullish(),
  max_tokens: tokenLimit,
  temperature,
  top_p: topP,
  seed,
  presence_penalty: penalty,
  frequency_penalty: penalty,
  stop: z
    .union([stopText, z.array(stopText).max(4, "must have at most 4 strings")], "must be a string or an array of up to 4 non-empty strings")
    .nullish(),
  n: z
    .int("must be an integer from 1 to 8")
    .min(1, "must be at least 1")
    .max(8, "must be at most 8; send the request again for more choices")
    .nullish(),
};
const samplingObject = z.object(samplingFields);

/** A field that is refused unless null or left out. */
export function unsupported(why: string): z.ZodOptional<z.ZodNull> {
  return z.null(why).optional();
}

/** An inner request that leaves all to us. */
export function plainRequest(api: ApiName, name: string, prompt: ChatPrompt | TextPrompt, session: string | null): InnerRequest {
  return {
    api,
    model: name,
    prompt,
    toolChoice: null,
    laterTools: [],
    allowedTools: null,
    schemaPaths: new Map(),
    formatPath: null,
    parallelToolCalls: true,
    responseFormat: { type: "text" },
    reasoningEffort: null,
    stream: false,
    includeUsage: false,
    maxTokens: null,
    temperature: null,
    topP: null,
    seed: null,
    presencePenalty: 0,
    frequencyPenalty: 0,
    logitBias: new Map(),
    logprobs: null,
    stop: [],
    n: 1,
    echo: false,
    session,
    responses: null,
  };
}

/** What chat and completions have in common. */
export function samplingOf(fields: z.infer<typeof samplingObject>, body: Json): Partial<InnerRequest> {
  const stream = fields.stream ?? false;
  return {
    stream,
    includeUsage: stream && (fields.stream_options?.include_usage ?? false),
    temperature: fields.temperature ?? null,
    topP: fields.top_p ?? null,
    seed: fields.seed ?? null,
    presencePenalty: fields.presence_penalty ?? 0,
    frequencyPenalty: fields.frequency_penalty ?? 0,
    logitBias: parseLogitBias(body["logit_bias"]),
    stop: typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []),
    n: fields.n ?? 1,
  };
}

function parseLogitBias(value: unknown): ReadonlyMap<number, number> {
  const biases = new Map<number, number>();
  if (value === undefined || value === null) return biases;
  for (const [key, bias] of Object.entries(wantObject(value, "logit_bias", "an object of token ids and numbers from -100 to 100"))) {
    const at = `logit_bias.${clip(key)}`;
    if (!/^\d{1,9}$/.test(key)) throw new Refused(refuse(at, "is no token id; keys are whole numbers."));
    if (typeof bias !== "number") throw new Refused(mustBe(at, "a number from -100 to 100", bias));
    if (bias < -100 || bias > 100) throw new Refused(refuse(at, "must be a number from -100 to 100."));
    if (bias !== 0) biases.set(Number(key), bias);
    if (biases.size > MAX_BIASES) throw new Refused(refuse("logit_bias", `must have at most ${MAX_BIASES} tokens.`));
  }
  return biases;
}

/** `holder` has `type`, and the schema's fields are in it, or one deeper as in chat. */
export function parseFormat(value: unknown, at: string, deeper: boolean): ResponseFormat {
  if (value === undefined || value === null) return { type: "text" };
  const format = wantObject(value, at);
  const type = format["type"];
  if (type === "text" || type === "json_object") return { type };
  if (type !== "json_schema") {
    if (typeof type !== "string") throw new Refused(mustBe(`${at}.type`, "a string", type));
    throw new Refused(refuse(`${at}.type`, `is '${clip(type)}'; use one of 'text', 'json_object', 'json_schema'.`));
  }
  const where = deeper ? `${at}.json_schema` : at;
  const fields = deeper ? wantObject(format["json_schema"], where) : format;
  const name = wantString(fields["name"], `${where}.name`);
  if (!NAME.test(name)) throw new Refused(refuse(`${where}.name`, "must be 1 to 64 letters, digits, '_', '-' or '.'."));
  const strict = wantFlag(fields["strict"], `${where}.strict`);
  checkDescription(fields["description"], `${where}.description`);
  // Without a schema any object will do; OpenAI's own clients may leave it out.
  if (fields["schema"] === undefined || fields["schema"] === null) return { type: "json_object" };
  return { type, name, schema: wantSchema(fields["schema"], `${where}.schema`), strict };
}

function checkDescription(value: unknown, at: string): void {
  if (value !== undefined && value !== null && typeof value !== "string") throw new Refused(mustBe(at, "a string", value));
}

export function wantSchema(value: unknown, at: string): Json {
  return wantObject(value, at, "a JSON Schema object");
}

export function wantFlag(value: unknown, at: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw new Refused(mustBe(at, "a boolean", value));
  return value;
}

/** OpenAI's tool choice; `deeper`: names are in `function`, as in chat. */
export function parseToolChoice(value: unknown, tools: readonly Tool[], deeper: boolean): ToolChoice | null {
  if (value === undefined || value === null) return null;
  if (value === "none" || value === "auto") return value;
  if (value === "required") return needTools(tools, "tool_choice", "is 'required'");
  const type = isObject(value) ? value["type"] : undefined;
  if (isObject(value) && type === "allowed_tools") return allowedMode(value, deeper);
  if (isObject(value) && type === "function") return { name: chosenName(value, "tool_choice", tools, deeper) };
  if (typeof type === "string") {
    throw new Refused(refuse("tool_choice.type", `is '${clip(type)}', a tool this model cannot call; choose a function.`));
  }
  const named = deeper ? "{type: 'function', function: {name}}" : "{type: 'function', name}";
  throw new Refused(refuse("tool_choice", `must be 'none', 'auto', 'required' or ${named}.`));
}

export function needTools(tools: readonly Tool[], at: string, is: string): "required" {
  if (tools.length > 0) return "required";
  throw new Refused(refuse(at, `${is}, but no tools are given that this model can call; add \`tools\`.`));
}

function chosenName(choice: Json, at: string, tools: readonly Tool[], deeper: boolean): string {
  const holder = deeper ? choice["function"] : choice;
  const name = isObject(holder) ? holder["name"] : undefined;
  const where = deeper ? `${at}.function.name` : `${at}.name`;
  if (typeof name !== "string") throw new Refused(mustBe(where, "a string, the name of a function", name));
  if (tools.some((tool) => tool.function.name === name)) return name;
  throw new Refused(refuse(where, "names a function that is not in `tools`; add the tool or change the name."));
}

/**
 * Of `allowed_tools`: all tools are before the model, so that the prefix stays the same, and only these can be called; null = all can.
 * Tools that are no functions are left out, as they are of `tools`.
 */
export function allowedToolNames(value: unknown, tools: readonly Tool[], deeper: boolean): readonly string[] | null {
  if (!isObject(value) || value["type"] !== "allowed_tools") return null;
  const [holder, at] = allowedHolder(value, deeper);
  const { tools: listed } = holder;
  if (!Array.isArray(listed) || listed.length === 0) throw new Refused(mustBe(`${at}.tools`, "an array of at least one tool", listed));
  const names = listed.flatMap((tool: unknown, index) => {
    const where = `${at}.tools[${index}]`;
    const fields = wantObject(tool, where);
    return (fields["type"] ?? "function") === "function" ? [chosenName(fields, where, tools, deeper)] : [];
  });
  if (names.length === 0 && holder["mode"] === "required") {
    throw new Refused(refuse(`${at}.tools`, "has no function, and this model calls functions only; add one."));
  }
  return names;
}

function allowedHolder(choice: Json, deeper: boolean): [holder: Json, at: string] {
  return deeper ? [wantObject(choice["allowed_tools"], "tool_choice.allowed_tools"), "tool_choice.allowed_tools"] : [choice, "tool_choice"];
}

function allowedMode(choice: Json, deeper: boolean): "auto" | "required" {
  const [holder, at] = allowedHolder(choice, deeper);
  const { mode } = holder;
  if (mode === "auto" || mode === "required") return mode;
  throw new Refused(refuse(`${at}.mode`, "must be 'auto' or 'required'."));
}
