/** Input items of OpenAI's responses API → messages. Items of one assistant turn (its text, then its calls) become one message, as chat has it. */
import type { ChatMessage, ContentPart, ToolCall } from "../prefix/prompt.ts";
import { check, clip, type Json, mustBe, Refused, refuse, wantObject, wantString } from "./check.ts";
import { mediaProblem } from "./openai-messages.ts";
import { joinToolName } from "./responses-tools.ts";

const ROLES: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant"]);
/** Earlier reasoning, and what tools of other hosts did: not for this model's eyes. */
const DROPPED: ReadonlySet<string> = new Set([
  "reasoning",
  "web_search_call",
  "file_search_call",
  "code_interpreter_call",
  "image_generation_call",
  "mcp_list_tools",
  "mcp_call",
  "tool_search_call",
  "tool_search_output",
]);

export function messagesOfInput(input: unknown, media: boolean): ChatMessage[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  if (!Array.isArray(input) || input.length === 0) throw new Refused(mustBe("input", "a string or an array of at least one item", input));
  const messages: ChatMessage[] = [];
  /** The assistant's message that further calls belong to. */
  let turn: { message: ChatMessage; calls: ToolCall[] } | null = null;
  for (let index = 0; index < input.length; index += 1) {
    const at = `input[${index}]`;
    const item = wantObject(input[index], at, "an object with `type`");
    const type = item["type"] ?? "message";
    if (type === "function_call") {
      turn ??= beginTurn(messages, { role: "assistant", content: null });
      turn.calls.push(callOf(item, at));
      turn.message.tool_calls = turn.calls;
    } else if (type === "function_call_output") {
      turn = null;
      messages.push({
        role: "tool",
        tool_call_id: wantString(item["call_id"], `${at}.call_id`),
        content: outputOf(item["output"], `${at}.output`, media),
      });
    } else if (type === "message") {
      const message = messageOf(item, at, media);
      if (message.role === "assistant") turn = beginTurn(messages, message);
      else {
        turn = null;
        messages.push(message);
      }
    } else refuseUnknown(type, at);
  }
  return messages;
}

function beginTurn(messages: ChatMessage[], message: ChatMessage): { message: ChatMessage; calls: ToolCall[] } {
  messages.push(message);
  return { message, calls: [] };
}

function refuseUnknown(type: unknown, at: string): void {
  if (typeof type !== "string") throw new Refused(mustBe(`${at}.type`, "a string", type));
  if (DROPPED.has(type)) return;
  const advice =
    type === "item_reference"
      ? "send the item itself, or `previous_response_id`"
      : "use 'message', 'function_call', 'function_call_output' or 'reasoning'";
  throw new Refused(refuse(`${at}.type`, `is '${clip(type)}', which is not supported; ${advice}.`));
}

function callOf(item: Json, at: string): ToolCall {
  const name = wantString(item["name"], `${at}.name`);
  const namespace = item["namespace"];
  return {
    id: wantString(item["call_id"], `${at}.call_id`),
    type: "function",
    function: {
      name: namespace == null ? name : joinToolName(wantString(namespace, `${at}.namespace`), name),
      arguments: wantString(item["arguments"], `${at}.arguments`),
    },
  };
}

function messageOf(item: Json, at: string, media: boolean): ChatMessage {
  const { role, content } = item;
  if (typeof role !== "string") throw new Refused(mustBe(`${at}.role`, "one of 'system', 'developer', 'user', 'assistant'", role));
  if (!ROLES.has(role)) {
    throw new Refused(refuse(`${at}.role`, `is '${clip(role)}'; use one of 'system', 'developer', 'user', 'assistant'.`));
  }
  const text = typeof content === "string" ? content : partsOf(content, `${at}.content`, media);
  return { role: role as ChatMessage["role"], content: text };
}

function outputOf(output: unknown, at: string, media: boolean): string | ContentPart[] {
  if (typeof output === "string") return output;
  return Array.isArray(output) && output.length === 0 ? "" : partsOf(output, at, media);
}

/** One text part is the string: what templates render best, and the same bytes in the hash. */
function partsOf(content: unknown, at: string, media: boolean): string | ContentPart[] {
  if (!Array.isArray(content) || content.length === 0) throw new Refused(mustBe(at, "a string or an array of at least one part", content));
  const parts = content.map((part, index) => partOf(part, `${at}[${index}]`, media));
  const [first] = parts;
  return parts.length === 1 && first?.type === "text" ? first.text : parts;
}

function partOf(value: unknown, at: string, media: boolean): ContentPart {
  const part = wantObject(value, at, "an object with `type`");
  const type = wantString(part["type"], `${at}.type`);
  switch (type) {
    case "input_text":
    case "output_text":
    case "text":
      return { type: "text", text: wantString(part["text"], `${at}.text`) };
    case "refusal":
      return { type: "text", text: wantString(part["refusal"], `${at}.refusal`) };
    case "input_image":
      check(mediaProblem("image", at, media));
      return { type: "image_url", image_url: { url: wantString(part["image_url"], `${at}.image_url`), ...detailOf(part["detail"]) } };
    case "input_audio": {
      check(mediaProblem("audio", at, media));
      const audio = wantObject(part["input_audio"], `${at}.input_audio`);
      const data = wantString(audio["data"], `${at}.input_audio.data`);
      return { type: "input_audio", input_audio: { data, format: wantString(audio["format"], `${at}.input_audio.format`) } };
    }
    case "input_file":
      check(mediaProblem("file", at, media));
      return { type: "file", file: { file_data: wantString(part["file_data"], `${at}.file_data`), ...nameOf(part["filename"]) } };
    default:
      throw new Refused(refuse(`${at}.type`, `is '${clip(type)}', which is not supported; use 'input_text' or 'output_text'.`));
  }
}

function detailOf(detail: unknown): { detail?: string } {
  return typeof detail === "string" ? { detail } : {};
}

function nameOf(filename: unknown): { filename?: string } {
  return typeof filename === "string" ? { filename } : {};
}

const ID_PREFIX: ReadonlyMap<unknown, string> = new Map([
  ["message", "msg"],
  ["function_call", "fc"],
  ["function_call_output", "fco"],
  ["reasoning", "rs"],
]);

/**
 * The input as items, each with an id that no other of this request has: the client's own where it gave one (its first use), else one that no
 * other response's items have either. `tail`: what this response's ids end with.
 */
export function inputItemsOf(input: unknown, tail: string): Json[] {
  if (typeof input === "string") {
    return [{ id: `msg_${tail}_in0`, type: "message", role: "user", content: [{ type: "input_text", text: input }] }];
  }
  const items = Array.isArray(input) ? (input as Json[]) : [];
  const given = new Set(items.map((item) => item["id"]));
  const used = new Set<string>();
  return items.map((item, index) => {
    const typed = item["type"] == null ? { type: "message", ...item } : item;
    let id = typeof item["id"] === "string" ? item["id"] : "";
    if (id === "" || used.has(id)) {
      id = `${ID_PREFIX.get(typed["type"]) ?? "item"}_${tail}_in${index}`;
      while (given.has(id)) id += "x";
    }
    used.add(id);
    return { ...typed, id };
  });
}
