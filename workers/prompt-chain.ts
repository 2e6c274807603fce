/** Hashing at the edge: a prompt's chain under a pool's hash spec, and the keys by which choices stay the same over a conversation. */
import xxhash from "xxhash-wasm";
import { type Chain, chainOf, type Hash64 } from "../src/prefix/chain.ts";
import { ChainRoots } from "../src/prefix/chain-roots.ts";
import type { ChatMessage, ChatPrompt, TextPrompt } from "../src/prefix/prompt.ts";
import { PromptEncoder } from "../src/prefix/prompt-encoder.ts";
import type { HashSpec } from "../src/prefix/segment.ts";

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
const promptEncoder = new PromptEncoder(hash64);
const roots = new ChainRoots(hash64);
const encoder = new TextEncoder();

/** Of what a conversation begins with so many messages are looked at, and so many characters of each: a long system prompt leaves room for the question. */
const MOST_BEGINNINGS = 16;
const MOST_OF_EACH = 8_192;
const TEXT_BEGINNING = 1_024;

export interface PromptChain {
  chain: Chain;
  promptBytes: number;
}

/** `model`: as the pool's replicas call it, whatever name the client used. */
export function promptChain(prompt: ChatPrompt | TextPrompt, spec: HashSpec, model: string, salt: string): PromptChain {
  const bytes = promptEncoder.encode(prompt, spec.order);
  const root = roots.of({ spec, model, adapter: null, salt });
  return { chain: chainOf(hash64, root, bytes, spec.schedule), promptBytes: bytes.length };
}

/** The same for all requests of a conversation: of its session where the client names one, else of what it begins with, up to the first user message. */
export function conversationKey(prompt: ChatPrompt | TextPrompt, session: string | null, salt: string): bigint {
  return hash64(encoder.encode(JSON.stringify([salt, session ?? beginningOf(prompt)])), 0n);
}

function beginningOf(prompt: ChatPrompt | TextPrompt): string {
  if ("text" in prompt) return prompt.text.slice(0, TEXT_BEGINNING);
  const user = prompt.messages.findIndex(({ role }) => role === "user");
  const beginning = prompt.messages.slice(0, user < 0 ? 1 : user + 1).slice(-MOST_BEGINNINGS);
  const startOf = (content: ChatMessage["content"]): unknown => (typeof content === "string" ? content.slice(0, MOST_OF_EACH) : content);
  return beginning.map(({ role, content }) => JSON.stringify([role, startOf(content)]).slice(0, MOST_OF_EACH)).join();
}
