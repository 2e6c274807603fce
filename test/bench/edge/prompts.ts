/** Requests of a wanted size: one shared prefix a size, the last tenth unique to each request. Text of our own, made from a fixed seed. */
import type { ApiName } from "../../../src/wire/api-table.ts";
import xxhash from "xxhash-wasm";
import { chainOf, chainRoot, type Hash64 } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../../../src/prefix/segment.ts";
import { parseChatRequest } from "../../../src/wire/openai.ts";

export const MODEL = "bench-model";
export const HASH_SPEC: HashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" };
export const MARK_LENGTH = 16;
const FRONT = "front-0000000000";
const TAIL = "tail-00000000000";
const TURN_BYTES = 3_000;

const WORDS =
  "the a of in harbour river stone lantern copper quiet north window ledger pilot winter orchard signal bridge letter paper engine " +
  "garden carries holds opens follows keeps measures returns and but while before after under beside slowly early again often never";
const LIST = WORDS.split(" ");

function text(bytes: number, seed: number, nonAscii: boolean): string {
  let state = seed >>> 0;
  let out = "";
  let words = 0;
  while (out.length < bytes) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    out += LIST[(state >>> 8) % LIST.length];
    words++;
    out += words % 90 === 0 ? ".\n\n" : words % 13 === 0 ? (nonAscii ? " – " : ". ") : words % 29 === 0 ? ' "so" ' : " ";
  }
  return out.slice(0, bytes);
}

export interface BodyTemplate {
  bytes: Buffer;
  /** Where 16 characters at the very front of the prompt, and at the start of its last tenth, may be overwritten. */
  frontAt: number;
  tailAt: number;
}

interface Message {
  role: string;
  content: string;
}

/** The same conversation as each API wants it. */
const BODIES: Record<ApiName, (messages: Message[]) => object> = {
  chat: (messages) => ({ max_tokens: 16, messages }),
  completions: (messages) => ({ max_tokens: 16, prompt: messages.map(({ content }) => content).join("\n") }),
  responses: (messages) => ({ max_output_tokens: 16, store: false, input: messages }),
  messages: ([system, ...messages]) => ({ max_tokens: 16, system: system?.content, messages }),
};

/** `promptBytes`: of text; the JSON around it is a few percent more. */
export function bodyTemplate(promptBytes: number, stream: boolean, nonAscii = false, api: ApiName = "chat"): BodyTemplate {
  const tail = Math.max(200, Math.floor(promptBytes / 10));
  const system = Math.min(8_000, Math.floor(promptBytes / 4));
  const messages: Message[] = [{ role: "system", content: FRONT + text(system - FRONT.length, 1, nonAscii) }];
  let left = promptBytes - tail - system;
  for (let turn = 0; left > 0; turn++) {
    const size = Math.min(TURN_BYTES, left);
    messages.push({ role: turn % 2 === 0 ? "user" : "assistant", content: text(size, turn + 2, nonAscii) });
    left -= size;
  }
  messages.push({ role: "user", content: TAIL + text(tail - TAIL.length, 99_991, nonAscii) });
  const bytes = Buffer.from(JSON.stringify({ model: MODEL, stream, ...BODIES[api](messages) }));
  return { bytes, frontAt: bytes.indexOf(FRONT), tailAt: bytes.indexOf(TAIL) };
}

/** The chain that the edge will compute for the template, unique tail and all. */
export async function templateChain(promptBytes: number, salt: string, nonAscii = false): Promise<BigUint64Array> {
  const xxh = await xxhash();
  const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
  const parsed = parseChatRequest(JSON.parse(bodyTemplate(promptBytes, false, nonAscii).bytes.toString()));
  if (!parsed.ok) throw new Error(parsed.error.message);
  const bytes = new PromptEncoder(hash64).encode(parsed.request.prompt, HASH_SPEC.order);
  return chainOf(hash64, chainRoot(hash64, { spec: HASH_SPEC, model: MODEL, adapter: null, salt }), bytes, HASH_SPEC.schedule).hashes;
}
