/** Checks that every API's parser shares. An error's `param` is a path of the caller's own body; its message says what is wrong and never repeats a prompt. */
import type { z } from "zod";
import { type ApiError, apiError, shortParam } from "../errors.ts";
import type { InnerRequest, ParsedRequest } from "./inner.ts";
import { formatPath, nestingProblem } from "./json-body.ts";

export type Json = { readonly [key: string]: unknown };
/** The first problem, or null. */
export type Problem = ApiError | null;

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function refuse(param: string, message: string): ApiError {
  return apiError("invalid_request", `\`${shortParam(param)}\` ${message}`, param);
}

export function mustBe(param: string, wanted: string, value: unknown): ApiError {
  return refuse(param, `must be ${wanted}, but is ${kindOf(value)}.`);
}

/** What a value is, in words, without repeating its content. */
function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** A caller's word in a message of ours: short and on one line. */
export function clip(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cs}]/gu, " ");
  return line.length > 40 ? `${line.slice(0, 40)}…` : line;
}

export function quoted(words: Iterable<string>): string {
  return Array.from(words, (word) => `'${word}'`).join(", ");
}

export function stringProblem(value: unknown, param: string): Problem {
  return typeof value === "string" ? null : mustBe(param, "a string", value);
}

export function fieldsProblem(value: unknown, param: string, required: readonly string[], optional: readonly string[]): Problem {
  if (!isObject(value)) return mustBe(param, "an object", value);
  for (const name of required) if (typeof value[name] !== "string") return mustBe(`${param}.${name}`, "a string", value[name]);
  for (const name of optional)
    if (value[name] != null && typeof value[name] !== "string") return mustBe(`${param}.${name}`, "a string", value[name]);
  return null;
}

/** Thrown inside a parser, caught by `parsing`: a converter is not cluttered with results that are errors. */
export class Refused extends Error {
  readonly error: ApiError;
  constructor(error: ApiError) {
    super(error.message);
    this.error = error;
  }
}

export function check(problem: Problem): void {
  if (problem) throw new Refused(problem);
}

export function wantString(value: unknown, param: string): string {
  if (typeof value === "string") return value;
  throw new Refused(mustBe(param, "a string", value));
}

export function wantObject(value: unknown, param: string, wanted = "an object"): Json {
  if (isObject(value)) return value;
  throw new Refused(mustBe(param, wanted, value));
}

/** Runs a parser on a body: an object, with nothing nested too deep, of which `schema` takes its fields. */
export function parsing<Schema extends z.ZodType>(
  body: unknown,
  schema: Schema,
  parse: (fields: z.infer<Schema>, body: Json) => InnerRequest,
): ParsedRequest {
  if (!isObject(body)) {
    return { ok: false, error: apiError("invalid_request", `The request body must be a JSON object, but is ${kindOf(body)}.`) };
  }
  const parsed = schema.safeParse(body);
  if (!parsed.success) return { ok: false, error: schemaError(parsed.error.issues[0], body) };
  const tooDeep = nestingProblem(body);
  if (tooDeep) return { ok: false, error: tooDeep };
  try {
    return { ok: true, request: parse(parsed.data, body) };
  } catch (cause) {
    if (cause instanceof Refused) return { ok: false, error: cause.error };
    throw cause;
  }
}

function schemaError(issue: z.core.$ZodIssue | undefined, body: unknown): ApiError {
  if (issue === undefined) return apiError("invalid_request", "The request body is not valid.");
  const param = formatPath(issue.path);
  let value = body;
  for (const key of issue.path) value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  const isType = issue.code === "invalid_type" || issue.code === "invalid_union";
  return refuse(param, isType ? `${issue.message}, but is ${kindOf(value)}.` : `${issue.message}.`);
}
