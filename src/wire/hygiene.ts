/**
 * Messages as they are hashed and rendered: without what clients put into prompts that would part one shared prefix into many, and with a
 * refusal as the text that it is, which templates know no other word for.
 */
import type { ChatMessage, ContentPart } from "../prefix/prompt.ts";

const BILLING = "x-anthropic-billing-header:";
/** Earlier reasoning, as various servers hand it out and clients hand it back. */
const REASONING_FIELDS = ["reasoning_content", "reasoning", "reasoning_details", "thinking"] as const;

/** Claude Code's first system block is a line that differs in every conversation. Only that line goes: what follows it is the caller's prompt. */
function withoutBillingLine(text: string): string {
  if (!text.startsWith(BILLING)) return text;
  const end = text.indexOf("\n");
  return end === -1 ? "" : text.slice(end + 1).replace(/^[\r\n]+/, "");
}

/** The caller's own array and messages where nothing had to go. */
export function cleanMessages(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  let cleaned: ChatMessage[] | null = null;
  for (let index = 0; index < messages.length; index += 1) {
    const message = messages[index];
    if (message === undefined) continue;
    const clean = cleanMessage(message);
    if (clean !== message) cleaned ??= messages.slice(0, index);
    if (clean !== null) cleaned?.push(clean);
  }
  return cleaned === null || cleaned.length === 0 ? messages : cleaned;
}

function cleanMessage(message: ChatMessage): ChatMessage | null {
  if (message.role === "assistant") return withRefusalAsText(withoutReasoning(message));
  return message.role === "system" || message.role === "developer" ? withoutBilling(message) : message;
}

function withoutReasoning(message: ChatMessage): ChatMessage {
  if (!("reasoning_content" in message || "reasoning" in message || "reasoning_details" in message || "thinking" in message))
    return message;
  const rest: Record<string, unknown> & ChatMessage = { ...message };
  for (const name of REASONING_FIELDS) delete rest[name];
  return rest;
}

function withRefusalAsText(message: ChatMessage): ChatMessage {
  const { content } = message;
  if (content === null || content === undefined) {
    if (!("refusal" in message)) return message;
    const { refusal, ...rest } = message as ChatMessage & { refusal?: string | null };
    return typeof refusal === "string" ? { ...rest, content: refusal } : message;
  }
  if (typeof content === "string" || !content.some((part) => part.type === "refusal")) return message;
  const parts = content.map((part): ContentPart => (part.type === "refusal" ? { type: "text", text: part.refusal ?? "" } : part));
  const [first] = parts;
  return { ...message, content: parts.length === 1 && first?.type === "text" ? first.text : parts };
}

function withoutBilling(message: ChatMessage): ChatMessage | null {
  const { content } = message;
  if (typeof content === "string") {
    const text = withoutBillingLine(content);
    if (text === content) return message;
    return text === "" ? null : { ...message, content: text };
  }
  const parts = content ?? [];
  if (!parts.some((part) => part.type === "text" && part.text.startsWith(BILLING))) return message;
  const kept = parts.flatMap((part): ContentPart[] => {
    if (part.type !== "text") return [part];
    const text = withoutBillingLine(part.text);
    if (text === part.text) return [part];
    return text === "" ? [] : [{ ...part, text }];
  });
  return kept.length === 0 ? null : { ...message, content: kept };
}
