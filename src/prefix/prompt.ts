/**
 * The canonical prompt: one byte stream per request, the same whichever API it came through.
 *
 * A stream is a row of items, each a mark (one byte of 0xF8..0xFF, which valid UTF-8 never contains) and a UTF-8 text. So different prompts
 * give different bytes, and a prompt with more messages begins with the bytes of the shorter one: no lengths, no end marks.
 * `[{role: "user", content: "hi"}]` is F9 "user" FA "hi".
 *
 * Not in the stream: ids of calls, cache_control, metadata, sampling fields, earlier reasoning. docs/hash-chain.md has every rule.
 */
import type { TemplateOrder } from "./segment.ts";

export type Role = "system" | "developer" | "user" | "assistant" | "tool";

export interface TextPart {
  type: "text";
  text: string;
}
/** Media and refusals pass as they came: `image_url`, `input_audio`, `file`, `refusal`. */
interface OtherPart {
  type: "image_url" | "input_audio" | "file" | "refusal";
  image_url?: { url: string; detail?: string | null };
  input_audio?: { data: string; format: string };
  file?: { file_data?: string | null; file_id?: string | null; filename?: string | null };
  refusal?: string;
}
export type ContentPart = TextPart | OtherPart;

export interface ToolCall {
  id?: string;
  type?: "function";
  function: { name: string; arguments: string };
}

/** OpenAI's field names: a parsed request passes through uncopied. */
export interface ChatMessage {
  role: Role;
  content?: string | null | readonly ContentPart[];
  name?: string | null;
  tool_calls?: readonly ToolCall[] | null;
  tool_call_id?: string | null;
}

export interface Tool {
  type: "function";
  function: { name: string; description?: string | null; parameters?: unknown; strict?: boolean | null };
}

export interface ChatPrompt {
  messages: readonly ChatMessage[];
  tools: readonly Tool[];
}

/** A prompt that passes no template: one text item, FA and the text; or tokens of the model's, one part item, FC and the text. */
export interface TextPrompt {
  /** Of tokens: each one's decimal number and a comma behind it. */
  text: string;
  tokens?: readonly number[];
}

const MARK = {
  tool: 0xf8,
  message: 0xf9,
  text: 0xfa,
  media: 0xfb,
  part: 0xfc,
  callName: 0xfd,
  callArguments: 0xfe,
  speaker: 0xff,
} as const;

/** What a text is; the mark before it says the same in bytes. */
export type PieceKind = keyof typeof MARK;

export interface PromptSink {
  mark(byte: number): void;
  text(text: string, kind: PieceKind): void;
  /** 16 lower-case hex digits of xxh64 (seed 0) of the text's UTF-8: media enter by it, however long their data URLs are. */
  digest(text: string): string;
}

/** One walk over the prompt, in the order in which the pool's template renders it. */
export function canonicalPrompt(prompt: ChatPrompt | TextPrompt, order: TemplateOrder, sink: PromptSink): void {
  if ("text" in prompt) return item(sink, prompt.tokens === undefined ? "text" : "part", prompt.text);
  const { messages, tools } = prompt;
  const toolsAt = tools.length === 0 ? -1 : toolsMessage(messages, order);
  if (toolsAt === -1) walkTools(tools, sink);
  for (let index = 0; index < messages.length; index += 1) {
    const message = messages[index];
    if (message === undefined) continue;
    item(sink, "message", message.role === "developer" ? "system" : message.role);
    if (typeof message.name === "string") item(sink, "speaker", message.name);
    if (index === toolsAt && order === "tools-in-last-user") walkTools(tools, sink);
    walkContent(message, sink);
    if (index === toolsAt && order === "system-then-tools") walkTools(tools, sink);
  }
}

/** Index of the message in or behind which the tools stand; -1 = before all. */
function toolsMessage(messages: readonly ChatMessage[], order: TemplateOrder): number {
  if (order === "tools-in-last-user") return messages.findLastIndex((message) => message.role === "user");
  const first = messages[0]?.role;
  return order === "system-then-tools" && (first === "system" || first === "developer") ? 0 : -1;
}

function walkTools(tools: readonly Tool[], sink: PromptSink): void {
  for (const tool of tools) item(sink, "tool", canonicalJson(tool.function));
}

function walkContent(message: ChatMessage, sink: PromptSink): void {
  const { content, tool_calls: calls } = message;
  if (typeof content === "string") item(sink, "text", content);
  else if (content) for (const part of content) walkPart(part, sink);
  if (!calls) return;
  for (const call of calls) {
    item(sink, "callName", call.function.name);
    item(sink, "callArguments", call.function.arguments);
  }
}

function walkPart(part: ContentPart, sink: PromptSink): void {
  if (part.type === "text") item(sink, "text", part.text);
  else if (part.type === "image_url" && part.image_url) media(sink, "image_url", part.image_url.url, part.image_url.detail ?? "auto");
  else if (part.type === "input_audio" && part.input_audio) media(sink, "input_audio", part.input_audio.data, part.input_audio.format);
  else if (part.type === "file" && part.file?.file_data) media(sink, "file", part.file.file_data, part.file.filename ?? "");
  else item(sink, "part", canonicalJson(part));
}

function media(sink: PromptSink, type: string, data: string, detail: string): void {
  item(sink, "media", `${type} ${sink.digest(data)} ${detail}`);
}

function item(sink: PromptSink, kind: PieceKind, text: string): void {
  sink.mark(MARK[kind]);
  sink.text(text, kind);
}

/** JSON.stringify in the caller's key order, without the outermost `cache_control` (a parameter deeper down may bear that name). */
function canonicalJson(value: object): string {
  if (!("cache_control" in value)) return JSON.stringify(value);
  const { cache_control: _, ...rest } = value;
  return JSON.stringify(rest);
}
