/** Blocks of Anthropic's messages API → messages as chat has them: a `tool_result` is a message of role `tool`, a `tool_use` a tool call. */
import type { ChatMessage, ContentPart, Role, TextPart, ToolCall } from "../prefix/prompt.ts";
import { check, clip, type Json, mustBe, Refused, refuse, wantObject, wantString } from "./check.ts";
import type { OfferedTools } from "./offered-tools.ts";
import { mediaProblem } from "./openai-messages.ts";
import { functionTool, type GivenTool } from "./responses-tools.ts";
import { wantSchema } from "./settings.ts";

/** Earlier thinking, and what Anthropic's own tools did: not for this model's eyes. */
const DROPPED: ReadonlySet<string> = new Set([
  "thinking",
  "redacted_thinking",
  "server_tool_use",
  "web_search_tool_result",
  "web_fetch_tool_result",
  "code_execution_tool_result",
  "bash_code_execution_tool_result",
  "text_editor_code_execution_tool_result",
  "tool_search_tool_result",
  "mcp_tool_use",
  "mcp_tool_result",
]);

interface BlockContext {
  /** The engine takes images. */
  media: boolean;
  tools: OfferedTools;
}

export function messagesOfBlocks(system: unknown, messages: unknown, context: BlockContext): ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw new Refused(mustBe("messages", "an array of at least one message", messages));
  const out: ChatMessage[] = [];
  if (system !== undefined && system !== null) addSystem(system, "system", context, out);
  for (let index = 0; index < messages.length; index += 1) addMessage(messages[index], `messages[${index}]`, context, out);
  return out;
}

function addMessage(value: unknown, at: string, context: BlockContext, out: ChatMessage[]): void {
  const { role, content } = wantObject(value, at, "an object with `role` and `content`");
  if (role === "system") return addSystem(content, `${at}.content`, context, out);
  if (role !== "user" && role !== "assistant") {
    if (typeof role !== "string") throw new Refused(mustBe(`${at}.role`, "one of 'user', 'assistant', 'system'", role));
    throw new Refused(refuse(`${at}.role`, `is '${clip(role)}'; use one of 'user', 'assistant', 'system'.`));
  }
  if (typeof content === "string") {
    out.push({ role, content });
    return;
  }
  if (!Array.isArray(content)) throw new Refused(mustBe(`${at}.content`, "a string or an array of blocks", content));
  if (role === "user") addUser(content, `${at}.content`, context, out);
  else addAssistant(content, `${at}.content`, out);
}

function addSystem(value: unknown, at: string, context: BlockContext, out: ChatMessage[]): void {
  if (typeof value === "string") {
    if (value !== "") out.push({ role: "system", content: value });
    return;
  }
  if (!Array.isArray(value)) throw new Refused(mustBe(at, "a string or an array of text blocks", value));
  const parts = value.map((block, index): TextPart => {
    const [fields, type, where] = blockOf(block, `${at}[${index}]`);
    if (type === "tool_addition" || type === "tool_removal") return { type: "text", text: changeOf(fields, type, where, context) };
    if (type !== "text") throw new Refused(refuse(`${where}.type`, `is '${clip(type)}'; a system prompt has 'text' blocks only.`));
    return textOf(fields, where);
  });
  if (parts.length > 0) push(out, "system", parts);
}

/** In the caller's order: results and the texts between them. */
function addUser(blocks: readonly unknown[], at: string, context: BlockContext, out: ChatMessage[]): void {
  if (blocks.length === 0) throw new Refused(mustBe(at, "a string or an array of at least one block", blocks));
  let parts: ContentPart[] = [];
  const flush = (): void => {
    if (parts.length > 0) push(out, "user", parts);
    parts = [];
  };
  for (let index = 0; index < blocks.length; index += 1) {
    const [fields, type, where] = blockOf(blocks[index], `${at}[${index}]`);
    if (type === "tool_result") {
      flush();
      const id = wantString(fields["tool_use_id"], `${where}.tool_use_id`);
      out.push({ role: "tool", tool_call_id: id, content: resultOf(fields["content"], `${where}.content`, context) });
    } else if (type === "tool_use") {
      throw new Refused(refuse(`${where}.type`, "is 'tool_use', which belongs to role 'assistant' only."));
    } else if (!DROPPED.has(type)) parts.push(partOf(fields, type, where, context.media));
  }
  flush();
}

function addAssistant(blocks: readonly unknown[], at: string, out: ChatMessage[]): void {
  const parts: ContentPart[] = [];
  const calls: ToolCall[] = [];
  for (let index = 0; index < blocks.length; index += 1) {
    const [fields, type, where] = blockOf(blocks[index], `${at}[${index}]`);
    if (type === "text") parts.push(textOf(fields, where));
    else if (type === "tool_use") calls.push(callOf(fields, where));
    else if (!DROPPED.has(type)) {
      throw new Refused(refuse(`${where}.type`, `is '${clip(type)}', which is not supported here; use 'text', 'tool_use' or 'thinking'.`));
    }
  }
  if (parts.length > 0) push(out, "assistant", parts);
  else out.push({ role: "assistant", content: calls.length > 0 ? null : "" });
  const message = out.at(-1);
  if (message && calls.length > 0) message.tool_calls = calls;
}

/** One text is the string: what templates render best, and the same bytes in the hash. */
function push(out: ChatMessage[], role: Role, parts: ContentPart[]): void {
  const [first] = parts;
  out.push({ role, content: parts.length === 1 && first?.type === "text" ? first.text : parts });
}

function blockOf(value: unknown, at: string): [fields: Json, type: string, at: string] {
  const fields = wantObject(value, at, "an object with `type`");
  return [fields, wantString(fields["type"], `${at}.type`), at];
}

function textOf(fields: Json, at: string): TextPart {
  return { type: "text", text: wantString(fields["text"], `${at}.text`) };
}

/** `input` is an object here and JSON text in chat: its shortest form, keys as they came. */
function callOf(fields: Json, at: string): ToolCall {
  const id = wantString(fields["id"], `${at}.id`);
  const name = wantString(fields["name"], `${at}.name`);
  return { id, type: "function", function: { name, arguments: JSON.stringify(wantObject(fields["input"], `${at}.input`)) } };
}

function resultOf(content: unknown, at: string, { media, tools }: BlockContext): string | ContentPart[] {
  if (content === undefined || content === null) return "";
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new Refused(mustBe(at, "a string or an array of blocks", content));
  const parts = content.map((block, index): ContentPart => {
    const [fields, type, where] = blockOf(block, `${at}[${index}]`);
    if (type !== "tool_reference") return partOf(fields, type, where, media);
    const text = tools.offer(wantString(fields["tool_name"], `${where}.tool_name`), `${where}.tool_name`);
    return { type: "text", text: index === content.length - 1 ? text : `${text}\n` };
  });
  const [first] = parts;
  if (first === undefined) return "";
  return parts.length === 1 && first.type === "text" ? first.text : parts;
}

/** A tool that comes or goes in the middle of a conversation, as text. MCP servers' tools are not here. */
function changeOf(fields: Json, type: "tool_addition" | "tool_removal", at: string, { tools }: BlockContext): string {
  const tool = wantObject(fields["tool"], `${at}.tool`);
  const kind = wantString(tool["type"], `${at}.tool.type`);
  if (kind === "tool_reference") {
    const name = wantString(tool["name"], `${at}.tool.name`);
    return type === "tool_addition" ? tools.offer(name, `${at}.tool.name`) : tools.remove(name, `${at}.tool.name`);
  }
  if (kind === "tool_definition" && type === "tool_addition") {
    const definition = wantObject(tool["definition"], `${at}.tool.definition`);
    if ((definition["type"] ?? "custom") === "custom") return tools.define(customTool(definition, `${at}.tool.definition`));
  }
  throw new Refused(
    refuse(`${at}.tool.type`, `is '${clip(kind)}', which is not supported here; use 'tool_reference' or define a custom tool.`),
  );
}

/** A tool of the caller's own. */
export function customTool(fields: Json, at: string): GivenTool {
  wantSchema(fields["input_schema"], `${at}.input_schema`);
  return functionTool(fields, at, "input_schema", null);
}

function partOf(fields: Json, type: string, at: string, media: boolean): ContentPart {
  if (type === "text") return textOf(fields, at);
  if (type === "image") {
    check(mediaProblem("image", at, media));
    return { type: "image_url", image_url: { url: imageUrl(wantObject(fields["source"], `${at}.source`), `${at}.source`) } };
  }
  if (type === "document") return { type: "text", text: documentText(fields, at) };
  if (type === "search_result") return { type: "text", text: searchResultText(fields, at) };
  throw new Refused(
    refuse(`${at}.type`, `is '${clip(type)}', which is not supported; use 'text', 'document', 'search_result' or 'tool_result'.`),
  );
}

/** A document that is text, in the form that Anthropic's own guide has for documents in prompts. Others are files. */
function documentText(fields: Json, at: string): string {
  const source = wantObject(fields["source"], `${at}.source`);
  const type = wantString(source["type"], `${at}.source.type`);
  if (type !== "text" && type !== "content") check(mediaProblem("file", at, false));
  const text = type === "text" ? wantString(source["data"], `${at}.source.data`) : blocksText(source["content"], `${at}.source.content`);
  const about = tagged("source", fields["title"], `${at}.title`) + tagged("context", fields["context"], `${at}.context`);
  return `<document>\n${about}<document_content>\n${text}\n</document_content>\n</document>\n`;
}

function searchResultText(fields: Json, at: string): string {
  const text = blocksText(fields["content"], `${at}.content`);
  wantString(fields["source"], `${at}.source`);
  wantString(fields["title"], `${at}.title`);
  const about = tagged("source", fields["source"], `${at}.source`) + tagged("title", fields["title"], `${at}.title`);
  return `<search_result>\n${about}<content>\n${text}\n</content>\n</search_result>\n`;
}

function tagged(name: string, value: unknown, at: string): string {
  return value === undefined || value === null ? "" : `<${name}>${wantString(value, at)}</${name}>\n`;
}

/** Of a text, or of text blocks. */
function blocksText(value: unknown, at: string): string {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) throw new Refused(mustBe(at, "a string or an array of text blocks", value));
  const texts = value.map((block, index) => {
    const [fields, type, where] = blockOf(block, `${at}[${index}]`);
    if (type === "image") check(mediaProblem("image", where, false));
    if (type !== "text") throw new Refused(refuse(`${where}.type`, `is '${clip(type)}'; only 'text' can stand here.`));
    return textOf(fields, where).text;
  });
  return texts.join("\n");
}

/** As chat writes it, so that the same image is the same hash. */
function imageUrl(source: Json, at: string): string {
  if (source["type"] === "url") return wantString(source["url"], `${at}.url`);
  if (source["type"] !== "base64") throw new Refused(refuse(`${at}.type`, "must be 'base64' or 'url'."));
  return `data:${wantString(source["media_type"], `${at}.media_type`)};base64,${wantString(source["data"], `${at}.data`)}`;
}
