/**
 * The long part of a chat request, checked by hand: at hundreds of messages a schema library that may not compile code costs more than the hashing.
 * Nothing is copied: what passes is what came. Every check returns the first problem, or null.
 */
import type { ApiError } from "../errors.ts";
import { clip, fieldsProblem, isObject, mustBe, type Problem, quoted, refuse, stringProblem } from "./check.ts";

const ROLES: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant", "tool"]);
const PART_TYPES = ["text", "image_url", "input_audio", "file", "refusal"] as const;

/** `media`: the engine has eyes and ears. */
export function messagesProblem(messages: unknown, media: boolean): Problem {
  if (!Array.isArray(messages) || messages.length === 0) return mustBe("messages", "an array of at least one message", messages);
  for (let index = 0; index < messages.length; index += 1) {
    const problem = messageProblem(messages[index], index, media);
    if (problem) return problem;
  }
  return null;
}

function messageProblem(message: unknown, index: number, media: boolean): Problem {
  if (!isObject(message)) return mustBe(`messages[${index}]`, "an object with `role` and `content`", message);
  const { role, content, name, tool_calls: calls } = message;
  if (role === "function") return refuse(`messages[${index}].role`, "is 'function', which is deprecated and not supported; use 'tool'.");
  if (!ROLES.has(role)) return roleProblem(role, `messages[${index}].role`);
  if (typeof name !== "string" && name !== undefined && name !== null) return mustBe(`messages[${index}].name`, "a string", name);
  if (message["function_call"] != null)
    return refuse(`messages[${index}].function_call`, "is deprecated and not supported; use `tool_calls`.");
  const hasCalls = calls !== undefined && calls !== null;
  if (hasCalls) {
    if (role !== "assistant") return refuse(`messages[${index}].tool_calls`, "belongs to role 'assistant' only; leave it out here.");
    const problem = callsProblem(calls, `messages[${index}].tool_calls`);
    if (problem) return problem;
  }
  if (role === "tool" && typeof message["tool_call_id"] !== "string") {
    return mustBe(
      `messages[${index}].tool_call_id`,
      "a string, the id of the tool call that this message answers",
      message["tool_call_id"],
    );
  }
  const { refusal } = message;
  if (role === "assistant" && typeof refusal !== "string" && refusal !== null && refusal !== undefined)
    return mustBe(`messages[${index}].refusal`, "a string", refusal);
  if (typeof content === "string") return null;
  if (content === null || content === undefined) {
    if (role === "assistant" && (hasCalls || typeof refusal === "string")) return null;
    const unless = role === "assistant" ? " unless `tool_calls` or `refusal` is given" : "";
    return mustBe(`messages[${index}].content`, `a string or an array of parts${unless}`, content);
  }
  return partsProblem(content, `messages[${index}].content`, media);
}

function roleProblem(role: unknown, param: string): ApiError {
  const allowed = "'system', 'developer', 'user', 'assistant', 'tool'";
  if (typeof role !== "string") return mustBe(param, `one of ${allowed}`, role);
  return refuse(param, `is '${clip(role)}'; use one of ${allowed}.`);
}

function partsProblem(parts: unknown, param: string, media: boolean): Problem {
  if (!Array.isArray(parts) || parts.length === 0) return mustBe(param, "a string or an array of at least one part", parts);
  for (let index = 0; index < parts.length; index += 1) {
    const problem = partProblem(parts[index], `${param}[${index}]`, media);
    if (problem) return problem;
  }
  return null;
}

function partProblem(part: unknown, param: string, media: boolean): Problem {
  if (!isObject(part)) return mustBe(param, "an object with `type`", part);
  switch (part["type"]) {
    case "text":
      return stringProblem(part["text"], `${param}.text`);
    case "refusal":
      return stringProblem(part["refusal"], `${param}.refusal`);
    case "image_url":
      return fieldsProblem(part["image_url"], `${param}.image_url`, ["url"], ["detail"]) ?? mediaProblem("image", param, media);
    case "input_audio":
      return fieldsProblem(part["input_audio"], `${param}.input_audio`, ["data", "format"], []) ?? mediaProblem("audio", param, media);
    case "file":
      return fieldsProblem(part["file"], `${param}.file`, [], ["file_data", "file_id", "filename"]) ?? mediaProblem("file", param, media);
    default:
      return typeof part["type"] === "string"
        ? refuse(`${param}.type`, `is '${clip(part["type"])}'; use one of ${quoted(PART_TYPES)}.`)
        : mustBe(`${param}.type`, "a string", part["type"]);
  }
}

const MEDIA = {
  image: "is an image, and images are not supported; send text.",
  audio: "is sound, and sound is not supported; send text.",
  file: "is a file, and files are not supported; send its text.",
} as const;

/** The one place where any API's media are refused. */
export function mediaProblem(kind: keyof typeof MEDIA, param: string, allowed: boolean): Problem {
  return allowed ? null : refuse(param, MEDIA[kind]);
}

function callsProblem(calls: unknown, param: string): Problem {
  if (!Array.isArray(calls) || calls.length === 0) return mustBe(param, "an array of at least one tool call (or left out)", calls);
  for (const [index, call] of calls.entries()) {
    const at = `${param}[${index}]`;
    if (!isObject(call)) return mustBe(at, "an object with `id`, `type` and `function`", call);
    if (call["type"] !== undefined && call["type"] !== "function")
      return refuse(`${at}.type`, "must be 'function'; other tool calls are not supported.");
    if (typeof call["id"] !== "string") return mustBe(`${at}.id`, "a string", call["id"]);
    const problem = fieldsProblem(call["function"], `${at}.function`, ["name", "arguments"], []);
    if (problem) return problem;
  }
  return null;
}

export function toolsProblem(tools: unknown): Problem {
  if (tools === undefined || tools === null) return null;
  if (!Array.isArray(tools)) return mustBe("tools", "an array of tools", tools);
  for (const [index, tool] of tools.entries()) {
    const at = `tools[${index}]`;
    if (!isObject(tool)) return mustBe(at, "an object with `type` and `function`", tool);
    if (tool["type"] !== "function") return refuse(`${at}.type`, "must be 'function'; other tools are not supported.");
    const problem =
      fieldsProblem(tool["function"], `${at}.function`, ["name"], ["description"]) ?? toolFunctionProblem(tool["function"], at);
    if (problem) return problem;
  }
  return null;
}

function toolFunctionProblem(fn: unknown, at: string): Problem {
  if (!isObject(fn)) return null;
  if (fn["name"] === "") return refuse(`${at}.function.name`, "must not be empty.");
  if (fn["parameters"] != null && !isObject(fn["parameters"])) {
    return mustBe(`${at}.function.parameters`, "a JSON Schema object", fn["parameters"]);
  }
  if (fn["strict"] != null && typeof fn["strict"] !== "boolean") return mustBe(`${at}.function.strict`, "a boolean", fn["strict"]);
  return null;
}
