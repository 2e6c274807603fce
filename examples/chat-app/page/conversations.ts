/** The conversations of this browser. They are kept in its storage and nowhere else. */
import type { ChatMessage } from "../turn.ts";

export interface Conversation {
  id: string;
  model: string;
  messages: ChatMessage[];
}

const NAME = "conversations";
const MOST = 50;

export const freshConversation = (model: string): Conversation => ({ id: crypto.randomUUID(), model, messages: [] });

/** Newest first. */
export function loadConversations(): Conversation[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(kept)
      ? (kept as Conversation[]).filter(({ id, messages }) => typeof id === "string" && Array.isArray(messages))
      : [];
  } catch {
    return [];
  }
}

/** Of those that a browser has no room for, the oldest go. */
export function saveConversations(conversations: readonly Conversation[]): void {
  for (let count = Math.min(conversations.length, MOST); count >= 0; count--) {
    try {
      return localStorage.setItem(NAME, JSON.stringify(conversations.slice(0, count)));
    } catch {
      // One less.
    }
  }
}

export function textOf(message: ChatMessage, type: "text" | "reasoning" = "text"): string {
  return message.parts.map((part) => (part.type === type ? part.text : "")).join("");
}

export function titleOf({ messages }: Conversation): string {
  const [first] = messages;
  return first === undefined ? "New conversation" : textOf(first).slice(0, 60);
}
