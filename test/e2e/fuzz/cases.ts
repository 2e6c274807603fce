/** Case INDEX of the fuzz test: an endpoint, a body, and what is known of the answer. */
import { chatBody, completionBody, type Known } from "./bodies-openai.ts";
import { countTokensBody, messagesBody } from "./bodies-anthropic.ts";
import { responsesBody } from "./bodies-responses.ts";
import { damagedBytes, transported } from "./byte-mutations.ts";
import { type Json, Random } from "./random.ts";
import { CHAT, COMPLETIONS, COUNT_TOKENS, MESSAGES, RESPONSES, type Rule } from "./rules.ts";
import { certain, tooLong, twice, wild } from "./schema-mutations.ts";

export interface Endpoint {
  path: string;
  envelope: "openai" | "anthropic";
  body: (random: Random, known: Known) => Json;
  rules: readonly Rule[];
  /** Of a prompt that is too long. */
  promptParam: string;
}

const CHAT_ENDPOINT: Endpoint = {
  path: "/v1/chat/completions",
  envelope: "openai",
  body: chatBody,
  rules: CHAT,
  promptParam: "messages",
};

export const ENDPOINTS: readonly Endpoint[] = [
  CHAT_ENDPOINT,
  { path: "/v1/completions", envelope: "openai", body: completionBody, rules: COMPLETIONS, promptParam: "prompt" },
  { path: "/v1/responses", envelope: "openai", body: responsesBody, rules: RESPONSES, promptParam: "input" },
  { path: "/v1/messages", envelope: "anthropic", body: messagesBody, rules: MESSAGES, promptParam: "messages" },
  { path: "/v1/messages/count_tokens", envelope: "anthropic", body: countTokensBody, rules: COUNT_TOKENS, promptParam: "messages" },
  { path: "/v1/responses/input_tokens", envelope: "openai", body: responsesBody, rules: RESPONSES, promptParam: "input" },
];

export type Kind = "valid" | "certain" | "wild" | "bytes" | "transport" | "too long" | "twice";

export interface Expected {
  /** Any one; empty: 200 or any 4xx. */
  statuses: readonly number[];
  /** What the error blames, when it is known. */
  param: string | null;
  near: boolean;
  /** Fields of the body, one of which the error must be about when it blames any; null = any. */
  roots: readonly string[] | null;
}

export interface FuzzCase {
  index: number;
  endpoint: Endpoint;
  kind: Kind;
  what: string;
  bytes: Buffer;
  headers: Record<string, string>;
  expected: Expected;
}

const ANY: Expected = { statuses: [], param: null, near: false, roots: null };
const GOOD: Expected = { ...ANY, statuses: [200] };

type Made = Pick<FuzzCase, "kind" | "what" | "bytes" | "expected"> & { headers?: Record<string, string> };

function made(endpoint: Endpoint, known: Known, random: Random): Made {
  const body = endpoint.body(random, known);
  const draw = random.below(100);
  if (draw < 15) return { kind: "valid", what: "", bytes: Buffer.from(JSON.stringify(body)), expected: GOOD };
  if (draw < 57) {
    for (let tries = 0; tries < 20; tries++) {
      const damage = certain(body, endpoint.rules, random);
      if (damage === null) continue;
      const { text, what, param, near } = damage;
      return { kind: "certain", what, bytes: Buffer.from(text), expected: { ...ANY, statuses: [400, 404], param, near } };
    }
  }
  if (draw < 70) {
    const { text, what, roots } = wild(body, random);
    return { kind: "wild", what, bytes: Buffer.from(text), expected: { ...ANY, roots } };
  }
  const bytes = Buffer.from(JSON.stringify(body));
  if (draw < 90) return { kind: "bytes", ...damagedBytes(bytes, random), expected: ANY };
  if (draw < 97) {
    const { status, ...sent } = transported(bytes, random);
    return { kind: "transport", ...sent, expected: { ...ANY, statuses: [status] } };
  }
  if (draw < 98) {
    const expected: Expected = { ...ANY, statuses: [400], param: endpoint.promptParam };
    return { kind: "too long", what: "", bytes: Buffer.from(tooLong(body)), expected };
  }
  const last = random.pick(["good", "bad"] as const);
  const expected: Expected = last === "good" ? GOOD : { ...ANY, statuses: [400], param: "model" };
  return { kind: "twice", what: last, bytes: Buffer.from(twice(body, last)), expected };
}

/** A prime far from the generator's own step, so that neighbours have nothing in common. */
const STRIDE = 0x1000_0193;

export function caseOf(seed: number, index: number, known: Known): FuzzCase {
  const random = new Random((seed + Math.imul(index, STRIDE)) | 0);
  const endpoint = ENDPOINTS[index % ENDPOINTS.length] ?? CHAT_ENDPOINT;
  return { headers: {}, ...made(endpoint, known, random), index, endpoint };
}
