/** Anthropic's messages API: the request. Its blocks are in messages-blocks.ts. */
import { z } from "zod";
import type { ChatPrompt, Tool } from "../prefix/prompt.ts";
import { clip, type Json, mustBe, parsing, quoted, Refused, refuse, wantObject, wantString } from "./check.ts";
import { cleanMessages } from "./hygiene.ts";
import type { InnerRequest, ParsedRequest, ReasoningEffort, ToolChoice } from "./inner.ts";
import { customTool, messagesOfBlocks } from "./messages-blocks.ts";
import type { ParseOptions } from "./openai.ts";
import { type DeclaredTools, OfferedTools } from "./offered-tools.ts";
import type { GivenTool } from "./responses-tools.ts";
import { type HeaderReader, NO_HEADERS, sessionOf } from "./session.ts";
import { flag, model, needTools, plainRequest, topP, unsupported, wantFlag, wantSchema } from "./settings.ts";

const EFFORTS = ["low", "medium", "high", "xhigh", "max"] as const;
const NO_MCP = "is not supported; connect to the servers yourself and give their tools in `tools`";
/** Up to here a thinking budget is called low, then medium. */
const LOW_BUDGET = 4_096;
const MEDIUM_BUDGET = 16_384;
const MIN_BUDGET = 1_024;

const counted = {
  model,
  mcp_servers: z.array(z.unknown(), "must be an array").max(0, NO_MCP).nullish(),
  container: unsupported("is not supported; no code is run here"),
  thinking: z
    .object(
      {
        type: z.enum(["enabled", "adaptive", "disabled"], "must be 'enabled', 'adaptive' or 'disabled'"),
        budget_tokens: z.int("must be an integer").min(MIN_BUDGET, `must be at least ${MIN_BUDGET}`).nullish(),
      },
      "must be an object",
    )
    .nullish(),
  output_config: z
    .object({ effort: z.enum(EFFORTS, `must be one of ${quoted(EFFORTS)}`).nullish(), format: z.unknown().optional() }, "must be an object")
    .nullish(),
};

const settings = z.object({
  ...counted,
  max_tokens: z.int("must be an integer of at least 1").min(1, "must be at least 1"),
  stream: flag,
  temperature: z.number("must be a number from 0 to 1").min(0, "must be at least 0").max(1, "must be at most 1").nullish(),
  top_p: topP,
  stop_sequences: z
    .array(z.string("must be a string").min(1, "must not be an empty string"), "must be an array of strings")
    .max(16, "must have at most 16 strings")
    .nullish(),
});
type Settings = Partial<z.infer<typeof settings>> & { model: string };

/** A count needs no `max_tokens`, and what only an answer has is left alone. */
const countSettings = z.object(counted);

export function parseMessagesRequest(body: unknown, headers: HeaderReader = NO_HEADERS, options: ParseOptions = {}): ParsedRequest {
  return parsing(body, settings, (fields, object) => requestOf(fields, object, headers, options));
}

/** The body of `/v1/messages/count_tokens`. */
export function parseCountTokensRequest(body: unknown, headers: HeaderReader = NO_HEADERS, options: ParseOptions = {}): ParsedRequest {
  return parsing(body, countSettings, (fields, object) => requestOf(fields, object, headers, options));
}

function requestOf(fields: Settings, body: Json, headers: HeaderReader, options: ParseOptions): InnerRequest {
  const tools = new OfferedTools(toolsOf(body["tools"]));
  const messages = cleanMessages(messagesOfBlocks(body["system"], body["messages"], { media: options.media ?? false, tools }));
  const prompt: ChatPrompt = { messages, tools: tools.atStart };
  const choice = parseChoice(body["tool_choice"], tools.callable);
  return {
    ...plainRequest("messages", fields.model, prompt, sessionOf(body, headers)),
    toolChoice: choice.choice,
    laterTools: tools.later,
    allowedTools: tools.allowed,
    schemaPaths: tools.schemaPaths,
    parallelToolCalls: choice.parallel,
    ...formatOf(fields.output_config?.format, body["output_format"]),
    reasoningEffort: effortOf(fields),
    stream: fields.stream ?? false,
    maxTokens: fields.max_tokens ?? null,
    temperature: fields.temperature ?? null,
    topP: fields.top_p ?? null,
    stop: fields.stop_sequences ?? [],
  };
}

/** Anthropic's own search for tools, which is not here: without it no deferred tool would ever be named. */
const HOSTED_SEARCH = /^tool_search_tool_/;

/** Tools with a `type` of Anthropic's own (web_search_…, bash_…) are left out: the model does without, unless one is forced. */
function toolsOf(value: unknown): DeclaredTools {
  const given: GivenTool[] = [];
  const [deferred, hosted] = [new Set<string>(), new Set<string>()];
  if (value === undefined || value === null) return { given, deferred, hosted };
  if (!Array.isArray(value)) throw new Refused(mustBe("tools", "an array of tools", value));
  let isSearchHosted = false;
  for (const [index, tool] of value.entries()) {
    const at = `tools[${index}]`;
    const fields = wantObject(tool, at, "an object with `name` and `input_schema`");
    const type = fields["type"] ?? "custom";
    if (typeof type !== "string") throw new Refused(mustBe(`${at}.type`, "a string", type));
    if (type === "custom") {
      const one = customTool(fields, at);
      given.push(one);
      if (wantFlag(fields["defer_loading"], `${at}.defer_loading`)) deferred.add(one.tool.function.name);
    } else {
      isSearchHosted ||= HOSTED_SEARCH.test(type);
      if (typeof fields["name"] === "string") hosted.add(fields["name"]);
    }
  }
  return { given, deferred: isSearchHosted ? new Set() : deferred, hosted };
}

function parseChoice(value: unknown, tools: readonly Tool[]): { choice: ToolChoice | null; parallel: boolean } {
  if (value === undefined || value === null) return { choice: null, parallel: true };
  const fields = wantObject(value, "tool_choice");
  const parallel = !wantFlag(fields["disable_parallel_tool_use"], "tool_choice.disable_parallel_tool_use");
  const type = wantString(fields["type"], "tool_choice.type");
  if (type === "auto" || type === "none") return { choice: type, parallel };
  if (type === "any") return { choice: needTools(tools, "tool_choice", "is 'any'"), parallel };
  if (type !== "tool") {
    throw new Refused(refuse("tool_choice.type", `is '${clip(type)}'; use one of 'auto', 'any', 'tool', 'none'.`));
  }
  const name = wantString(fields["name"], "tool_choice.name");
  if (tools.some((tool) => tool.function.name === name)) return { choice: { name }, parallel };
  throw new Refused(
    refuse("tool_choice.name", "names a tool that is not in `tools`, or that this model cannot call; add it or change the name."),
  );
}

/** `beta`: where clients of the beta (structured-outputs-2025-11-13) put it. */
function formatOf(value: unknown, beta: unknown): Pick<InnerRequest, "responseFormat" | "formatPath"> {
  const isBeta = beta !== undefined && beta !== null;
  const isGiven = value !== undefined && value !== null;
  if (isBeta && isGiven) throw new Refused(refuse("output_format", "is the old name of `output_config.format`; give one of them."));
  if (!isBeta && !isGiven) return { responseFormat: { type: "text" }, formatPath: null };
  const at = isBeta ? "output_format" : "output_config.format";
  const fields = wantObject(isBeta ? beta : value, at);
  if (fields["type"] !== "json_schema") throw new Refused(refuse(`${at}.type`, "must be 'json_schema'."));
  const schema = wantSchema(fields["schema"], `${at}.schema`);
  return { responseFormat: { type: "json_schema", name: "output", schema, strict: true }, formatPath: `${at}.schema` };
}

/** No word of thinking: ours to choose. Thinking without an effort is 'high', Anthropic's default. */
function effortOf(fields: Settings): ReasoningEffort | null {
  const { type, budget_tokens: budget } = fields.thinking ?? {};
  if (type === "disabled") return "none";
  const effort = fields.output_config?.effort ?? null;
  if (effort !== null) return effort;
  if (type === "enabled" && budget != null) return budget <= LOW_BUDGET ? "low" : budget <= MEDIUM_BUDGET ? "medium" : "high";
  return type === undefined ? null : "high";
}
