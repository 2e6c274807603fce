/** OpenAI's responses API: the request. Items are in responses-items.ts, tools in responses-tools.ts. */
import { z } from "zod";
import type { ChatMessage, ChatPrompt } from "../prefix/prompt.ts";
import { isObject, type Json, mustBe, parsing, Refused, refuse } from "./check.ts";
import { cleanMessages } from "./hygiene.ts";
import type { ParsedRequest, ResponsesSettings } from "./inner.ts";
import type { ParseOptions } from "./openai.ts";
import { messagesOfInput } from "./responses-items.ts";
import { schemaPathsOf, toolsOfResponses } from "./responses-tools.ts";
import { type HeaderReader, NO_HEADERS, sessionOf } from "./session.ts";
import {
  allowedToolNames,
  effort,
  flag,
  model,
  parseFormat,
  parseToolChoice,
  penalty,
  plainRequest,
  temperature,
  tokenLimit,
  topLogprobs,
  topP,
  unsupported,
} from "./settings.ts";

const settings = z.object({
  model,
  instructions: z.string("must be a string").nullish(),
  previous_response_id: z.string("must be a string, the id of a stored response").min(1, "must not be empty").nullish(),
  conversation: unsupported("is not supported; use `previous_response_id`"),
  prompt: unsupported("is not supported; send `instructions` and `input`"),
  background: z.literal(false, "must be false; answers in the background are not supported").nullish(),
  store: flag,
  stream: flag,
  max_output_tokens: tokenLimit,
  max_tool_calls: z.int("must be an integer of at least 1").min(1, "must be at least 1").nullish(),
  temperature,
  top_p: topP,
  top_logprobs: topLogprobs,
  parallel_tool_calls: flag,
  reasoning: z.object({ effort }, "must be an object").nullish(),
  include: z.array(z.string("must be a string"), "must be an array of strings").nullish(),
  truncation: z
    .literal("disabled", "must be 'disabled'; nothing is left out of an input that is too long, so shorten it yourself")
    .nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  metadata: z.record(z.string(), z.string("must be a string"), "must be an object of strings").nullish(),
});

/** What the response object repeats as the caller wrote it; so do `text` and `reasoning`, which get what documents say is always there. */
const ECHOED = [
  "tools",
  "tool_choice",
  "temperature",
  "top_p",
  "top_logprobs",
  "max_output_tokens",
  "max_tool_calls",
  "parallel_tool_calls",
  "truncation",
  "include",
  "user",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "service_tier",
] as const;

const MAX_METADATA = 16;

/** `history`: the messages behind `previous_response_id`, without the instructions of then (they do not carry over). */
export function parseResponsesRequest(
  body: unknown,
  history: readonly ChatMessage[],
  headers: HeaderReader = NO_HEADERS,
  options: ParseOptions = {},
): ParsedRequest {
  return parsing(body, settings, (fields, object) => {
    const input = messagesOfInput(object["input"], options.media ?? false);
    const instructions: ChatMessage[] = fields.instructions ? [{ role: "system", content: fields.instructions }] : [];
    const messages = cleanMessages([...instructions, ...history, ...input]);
    if (messages.length === 0) throw new Refused(refuse("input", "has nothing for the model to read; add a message."));
    const given = toolsOfResponses(object["tools"]);
    const prompt: ChatPrompt = { messages, tools: given.map(({ tool }) => tool) };
    return {
      ...plainRequest("responses", fields.model, prompt, sessionOf(object, headers)),
      toolChoice: parseToolChoice(object["tool_choice"], prompt.tools, false),
      allowedTools: allowedToolNames(object["tool_choice"], prompt.tools, false),
      schemaPaths: schemaPathsOf(given),
      parallelToolCalls: fields.parallel_tool_calls ?? true,
      responseFormat: textFormat(object["text"]),
      reasoningEffort: fields.reasoning?.effort ?? null,
      stream: fields.stream ?? false,
      maxTokens: fields.max_output_tokens ?? null,
      temperature: fields.temperature ?? null,
      topP: fields.top_p ?? null,
      presencePenalty: fields.presence_penalty ?? 0,
      frequencyPenalty: fields.frequency_penalty ?? 0,
      logprobs: fields.include?.includes("message.output_text.logprobs") ? (fields.top_logprobs ?? 0) : null,
      responses: responsesSettings(fields, object),
    };
  });
}

/** For the edge, which loads the history before the body is parsed. Anything but a string is the parser's to refuse. */
export function previousResponseIdOf(body: unknown): string | null {
  const id = isObject(body) ? body["previous_response_id"] : null;
  return typeof id === "string" && id !== "" ? id : null;
}

function textFormat(text: unknown): ReturnType<typeof parseFormat> {
  if (text === undefined || text === null) return { type: "text" };
  if (!isObject(text)) throw new Refused(mustBe("text", "an object", text));
  return parseFormat(text["format"], "text.format", false);
}

function responsesSettings(fields: z.infer<typeof settings>, body: Json): ResponsesSettings {
  const metadata = fields.metadata ?? {};
  if (Object.keys(metadata).length > MAX_METADATA) throw new Refused(refuse("metadata", `must have at most ${MAX_METADATA} keys.`));
  return {
    store: fields.store ?? true,
    previousResponseId: fields.previous_response_id ?? null,
    instructions: fields.instructions ?? null,
    metadata,
    echoed: echoedOf(body),
    input: body["input"],
  };
}

/** With the keys that OpenAI's documents, and open-responses', say are always there. */
function echoedTool(tool: unknown): unknown {
  if (!isObject(tool)) return tool;
  if (tool["type"] === "function") return { description: null, parameters: null, ...tool, strict: tool["strict"] ?? false };
  return tool["type"] === "namespace" && Array.isArray(tool["tools"]) ? { ...tool, tools: tool["tools"].map(echoedTool) } : tool;
}

function echoedFormat(format: unknown): unknown {
  if (!isObject(format)) return { type: "text" };
  if (format["type"] !== "json_schema") return format;
  return { description: null, schema: null, ...format, strict: format["strict"] ?? false };
}

function echoedOf(body: Json): Json {
  const echoed: Record<string, unknown> = {};
  for (const name of ECHOED) if (body[name] != null) echoed[name] = body[name];
  if (Array.isArray(body["tools"])) echoed["tools"] = body["tools"].map(echoedTool);
  if (isObject(body["text"])) echoed["text"] = { ...body["text"], format: echoedFormat(body["text"]["format"]) };
  if (isObject(body["reasoning"])) echoed["reasoning"] = { effort: null, summary: null, ...body["reasoning"] };
  return echoed;
}
