/** What the Worker and the page say to each other of a turn, beside its text. */
import type { UIMessage } from "ai";

/** Known once the answer has begun, and whole at its end. */
export interface Served {
  /** Who computed the answer. */
  replica?: string;
  /** Tokens of the prompt, and how many of them the replica had in its KV cache. */
  promptTokens?: number;
  cachedTokens?: number;
  /** From sending to the first word, as the browser saw it. ms. */
  firstTokenMs?: number;
  /** The answer took too long, and was ended before it was whole. */
  wasCut?: boolean;
}
export type ChatMessage = UIMessage<Served>;

/** What one request of the page may hold. */
export const MOST_MESSAGES = 200;
export const MOST_BYTES = 512 * 1024;
