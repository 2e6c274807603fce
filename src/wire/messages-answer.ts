/** Anthropic's message and its stream events. Input tokens there exclude those read from the cache. */
import type { ApiError } from "../errors.ts";
import { type AnswerEvent, type AnswerHead, type AnswerStream, type AnswerUsage, type FinishReason, idTail } from "./answer-event.ts";
import { errorBody } from "./envelope.ts";
import { type AnswerPart, NO_USAGE, type WholeAnswer } from "./whole-answer.ts";

type StopReason = "end_turn" | "max_tokens" | "stop_sequence" | "tool_use";

type ContentBlock =
  | { type: "text"; text: string; citations: null }
  | { type: "thinking"; thinking: string; signature: string }
  | { type: "tool_use"; id: string; name: string; input: unknown; caller: { type: "direct" } };

interface MessageUsage {
  input_tokens: number;
  cache_read_input_tokens: number;
  cache_creation_input_tokens: number;
  cache_creation: null;
  output_tokens: number;
  output_tokens_details: { thinking_tokens: number } | null;
  inference_geo: null;
  server_tool_use: null;
  service_tier: null;
  speed: null;
}

export interface Message {
  id: string;
  type: "message";
  role: "assistant";
  model: string;
  content: ContentBlock[];
  stop_reason: StopReason | null;
  stop_sequence: string | null;
  stop_details: null;
  container: null;
  diagnostics: null;
  usage: MessageUsage;
}

/** Thinking here is not signed by anyone; a client sends the signature back and we do not read it. */
const SIGNATURE = "warmpath";

/** `cache_creation` is 0: nothing is charged for keeping a prefix. */
function usageOf(usage: AnswerUsage): MessageUsage {
  return {
    input_tokens: usage.promptTokens - usage.cachedTokens,
    cache_read_input_tokens: usage.cachedTokens,
    cache_creation_input_tokens: 0,
    cache_creation: null,
    output_tokens: usage.outputTokens,
    output_tokens_details: usage.reasoningTokens > 0 ? { thinking_tokens: usage.reasoningTokens } : null,
    inference_geo: null,
    server_tool_use: null,
    service_tier: null,
    speed: null,
  };
}

function stopReason(reason: FinishReason | null, stopText: string | null): StopReason {
  if (reason === "tool_calls") return "tool_use";
  if (reason === "length") return "max_tokens";
  return stopText === null ? "end_turn" : "stop_sequence";
}

/** Arguments that are no JSON object (the answer was cut) can't be told as one. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function blockOf(part: AnswerPart): ContentBlock {
  if (part.type === "text") return { type: "text", text: part.text, citations: null };
  if (part.type === "reasoning") return { type: "thinking", thinking: part.text, signature: SIGNATURE };
  return { type: "tool_use", id: part.id, name: part.name, input: inputOf(part.arguments), caller: { type: "direct" } };
}

function emptyMessage(head: AnswerHead, usage: AnswerUsage): Message {
  return {
    id: `msg_${idTail(head)}`,
    type: "message",
    role: "assistant",
    model: head.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    container: null,
    diagnostics: null,
    usage: usageOf(usage),
  };
}

export function message(head: AnswerHead, answer: WholeAnswer): Message {
  const { parts, reason, stopText } = answer.choice(0);
  const stop = stopReason(reason, stopText);
  return {
    ...emptyMessage(head, answer.usage),
    content: parts.map(blockOf),
    stop_reason: stop,
    stop_sequence: stop === "stop_sequence" ? stopText : null,
  };
}

const sse = (event: { type: string; [key: string]: unknown }): string => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

type BlockType = ContentBlock["type"];

export class MessageStream implements AnswerStream {
  readonly #head: AnswerHead;
  #usage = NO_USAGE;
  #blocks = 0;
  #open: BlockType | null = null;
  #stop: { reason: StopReason; sequence: string | null } = { reason: "end_turn", sequence: null };

  constructor(head: AnswerHead) {
    this.#head = head;
  }

  open(): string {
    return sse({ type: "message_start", message: emptyMessage(this.#head, this.#usage) }) + sse({ type: "ping" });
  }

  event(event: AnswerEvent): string {
    switch (event.type) {
      case "started":
        this.#usage = { ...NO_USAGE, promptTokens: event.promptTokens, cachedTokens: event.cachedTokens };
        return "";
      case "reasoning":
        return (
          this.#begin("thinking", { type: "thinking", thinking: "", signature: "" }) +
          this.#delta({ type: "thinking_delta", thinking: event.text })
        );
      case "text":
        return this.#begin("text", { type: "text", text: "", citations: null }) + this.#delta({ type: "text_delta", text: event.text });
      case "tool_call":
        return (
          this.#end() + this.#begin("tool_use", { type: "tool_use", id: event.id, name: event.name, input: {}, caller: { type: "direct" } })
        );
      case "tool_arguments":
        return this.#delta({ type: "input_json_delta", partial_json: event.text });
      case "finished": {
        const reason = stopReason(event.reason, event.stopText);
        this.#stop = { reason, sequence: reason === "stop_sequence" ? event.stopText : null };
        return this.#end();
      }
      case "usage":
        this.#usage = event.usage;
        return "";
    }
  }

  close(): string {
    const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens, output_tokens, output_tokens_details, server_tool_use } =
      usageOf(this.#usage);
    const delta = { stop_reason: this.#stop.reason, stop_sequence: this.#stop.sequence, stop_details: null, container: null };
    const usage = {
      input_tokens,
      cache_read_input_tokens,
      cache_creation_input_tokens,
      output_tokens,
      output_tokens_details,
      server_tool_use,
    };
    return sse({ type: "message_delta", delta, usage }) + sse({ type: "message_stop" });
  }

  fail(error: ApiError): string {
    return `event: error\ndata: ${JSON.stringify(errorBody("messages", error, this.#head.requestId))}\n\n`;
  }

  #begin(type: BlockType, block: ContentBlock): string {
    if (this.#open === type) return "";
    const ended = this.#end();
    this.#open = type;
    this.#blocks += 1;
    return ended + sse({ type: "content_block_start", index: this.#blocks - 1, content_block: block });
  }

  #delta(delta: object): string {
    return sse({ type: "content_block_delta", index: this.#blocks - 1, delta });
  }

  #end(): string {
    if (this.#open === null) return "";
    const signature = this.#open === "thinking" ? this.#delta({ type: "signature_delta", signature: SIGNATURE }) : "";
    this.#open = null;
    return signature + sse({ type: "content_block_stop", index: this.#blocks - 1 });
  }
}
