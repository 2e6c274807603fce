/** One conversation through all the APIs, and bytes that arrive in awkward pieces. */
import { request as httpRequest } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { beforeAll, describe, expect, it } from "vitest";
import { productOfWorker, sum } from "./product.ts";
import { eventsOf } from "./sse.ts";

const product = productOfWorker();
let model: string;
let openai: OpenAI;
let anthropic: Anthropic;

beforeAll(() => {
  ({ model } = product);
  const options = { apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 };
  openai = new OpenAI({ ...options, baseURL: `${product.url}/v1` });
  anthropic = new Anthropic({ ...options, baseURL: product.url });
});

interface Turn {
  text: string;
  all: number;
  cached: number;
}
interface Said {
  role: "user" | "assistant";
  content: string;
}

const SYSTEM = `You are a guide. ${"Mind the rules of the house. ".repeat(20)}`;

async function byChat(said: Said[], max_tokens = 24): Promise<Turn> {
  const messages = [{ role: "system" as const, content: SYSTEM }, ...said];
  const { choices, usage } = await openai.chat.completions.create({ model, messages, max_tokens, temperature: 0 });
  return {
    text: choices[0]?.message.content ?? "",
    all: usage?.prompt_tokens ?? 0,
    cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
  };
}

async function byResponses(input: Said[]): Promise<Turn> {
  const params = { model, instructions: SYSTEM, input, max_output_tokens: 24, temperature: 0, store: false };
  const { output_text: text, usage } = await openai.responses.create(params);
  return { text, all: usage?.input_tokens ?? 0, cached: usage?.input_tokens_details.cached_tokens ?? 0 };
}

async function byMessages(messages: Said[]): Promise<Turn> {
  const params = { model, system: SYSTEM, messages, max_tokens: 24, temperature: 0 } as Anthropic.MessageCreateParamsNonStreaming;
  const { content, usage } = await anthropic.messages.create(params);
  const cached = usage.cache_read_input_tokens ?? 0;
  return { text: content[0]?.type === "text" ? content[0].text : "", all: usage.input_tokens + cached, cached };
}

describe("a conversation that changes its API each turn", () => {
  it("stays warm: chat → responses → messages → chat", async () => {
    const said: Said[] = [];
    const turns: Turn[] = [];
    for (const [at, by] of [byChat, byResponses, byMessages, byChat].entries()) {
      said.push({ role: "user", content: `Question ${at}: ${"and what of the northern path? ".repeat(12)}` });
      const turn = await by(said);
      turns.push(turn);
      said.push({ role: "assistant", content: turn.text });
    }
    const told = JSON.stringify(turns.map(({ all, cached }) => ({ all, cached })));
    for (let at = 1; at < turns.length; at += 1) {
      // All of the last prompt is warm, but for the block that was not full.
      expect(turns[at]?.cached, told).toBeGreaterThan((turns[at - 1]?.all ?? 0) - 64);
      expect(turns[at]?.cached, told).toBeLessThan(turns[at]?.all ?? 0);
    }
  });

  it("has the same tokens and the same greedy answer through each", async () => {
    const said: Said[] = [{ role: "user", content: "Grüße 👩‍👩‍👧‍👦 日本語, say something." }];
    const turns = [await byChat(said), await byResponses(said), await byMessages(said)];
    expect(new Set(turns.map(({ all }) => all)).size).toBe(1);
    expect(new Set(turns.map(({ text }) => text)).size).toBe(1);
  });

  it("goes on from a response that is stored, by messages that repeat it", async () => {
    const question = `Question: ${"and what of the southern path? ".repeat(12)}`;
    const first = await openai.responses.create({ model, instructions: SYSTEM, input: question, max_output_tokens: 24, temperature: 0 });
    const second = await byMessages([
      { role: "user", content: question },
      { role: "assistant", content: first.output_text },
      { role: "user", content: "And then?" },
    ]);
    expect(second.cached).toBeGreaterThan((first.usage?.input_tokens ?? 0) - 64);
  });
});

interface Raw {
  status: number;
  parts: Buffer[];
}

/** Sends the head, then each piece of the body in a write of its own once the one before has gone out. */
function sendInPieces(path: string, pieces: readonly Uint8Array[], headers: Record<string, string>): Promise<Raw> {
  const { port } = new URL(product.url);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, path, method: "POST", headers: { ...product.headers, ...headers } });
    request.once("error", reject);
    request.once("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.once("error", reject);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, parts }));
    });
    request.once("socket", (socket) => socket.setNoDelay(true));
    const write = (at: number): void => {
      const piece = pieces[at];
      if (piece === undefined) request.end();
      else request.write(piece, () => setImmediate(write, at + 1));
    };
    write(0);
  });
}

const TEXT = "Grüße 🙂 日本語 👩‍👩‍👧‍👦 e\u0301";

describe("bytes in pieces", () => {
  const bodies: [string, () => object, (body: unknown) => number][] = [
    [
      "/v1/messages/count_tokens",
      () => ({ model, messages: [{ role: "user", content: TEXT }] }),
      (body) => (body as { input_tokens: number }).input_tokens,
    ],
    ["/v1/responses/input_tokens", () => ({ model, input: TEXT }), (body) => (body as { input_tokens: number }).input_tokens],
    [
      "/v1/chat/completions",
      () => ({ model, max_tokens: 1, messages: [{ role: "user", content: TEXT }] }),
      (body) => (body as OpenAI.ChatCompletion).usage?.prompt_tokens ?? 0,
    ],
  ];

  it.each(bodies)("a body that is cut at any byte is the same body: %s", async (path, bodyOf, tokensOf) => {
    const bytes = Buffer.from(JSON.stringify(bodyOf()));
    const counts: number[] = [];
    // Some at once, so that it takes seconds only.
    for (let from = 0; from < bytes.length; from += 16) {
      const cuts = Array.from({ length: Math.min(16, bytes.length - from) }, (_, at) => from + at);
      const answers = cuts.map((cut) => sendInPieces(path, [bytes.subarray(0, cut), bytes.subarray(cut)], {}));
      for (const { status, parts } of await Promise.all(answers)) {
        const text = Buffer.concat(parts).toString();
        expect(status, text).toBe(200);
        counts.push(tokensOf(JSON.parse(text)));
      }
    }
    expect(counts).toHaveLength(bytes.length);
    expect(new Set(counts).size).toBe(1);
    expect(counts[0]).toBeGreaterThan(20);
  });

  it("a body of single bytes, and one whose character is not whole", async () => {
    const bytes = Buffer.from(JSON.stringify({ model, messages: [{ role: "user", content: TEXT }] }));
    const single = await sendInPieces(
      "/v1/messages/count_tokens",
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
      {},
    );
    expect(single.status, Buffer.concat(single.parts).toString()).toBe(200);
    const cut = Buffer.concat([bytes.subarray(0, bytes.indexOf(Buffer.from("🙂")) + 2), Buffer.from('"}]}')]);
    const broken = await sendInPieces("/v1/messages/count_tokens", [cut], { "content-length": String(cut.length) });
    expect(broken.status).toBe(400);
    expect(JSON.parse(Buffer.concat(broken.parts).toString())).toMatchObject({ type: "error", error: { type: "invalid_request_error" } });
  });

  it.each([
    ["/v1/chat/completions", { max_tokens: 200, temperature: 2, seed: 3 }],
    ["/v1/completions", { max_tokens: 200, temperature: 2, seed: 3 }],
    ["/v1/messages", { max_tokens: 200, temperature: 1 }],
    ["/v1/responses", { max_output_tokens: 200, temperature: 2 }],
  ])("a stream has whole events and whole characters: %s", async (path, settings) => {
    const input = path.endsWith("responses")
      ? { input: TEXT }
      : path.endsWith("/completions") && !path.includes("chat")
        ? { prompt: TEXT }
        : { messages: [{ role: "user", content: TEXT }] };
    const bytes = Buffer.from(JSON.stringify({ model, stream: true, ...input, ...settings }));
    const { status, parts } = await sendInPieces(path, [bytes], {});
    expect(status).toBe(200);
    // The stream as it came, decoded strictly: a character over two events would be no UTF-8 in either.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts));
    const events = eventsOf(text);
    expect(events.length).toBeGreaterThan(4);
    const halves = events.filter(({ data }) => data !== "[DONE]" && !JSON.stringify(JSON.parse(data)).isWellFormed());
    expect(halves).toEqual([]);
    // JSON writes half a surrogate pair as an escape, which is well formed until it is parsed.
    const strings = events.flatMap(({ data }) => (data === "[DONE]" ? [] : stringsOf(JSON.parse(data))));
    expect(strings.filter((string) => !string.isWellFormed())).toEqual([]);
    expect(sum(parts.map((part) => part.length))).toBe(Buffer.byteLength(text));
  });
});

function stringsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(stringsOf) : [];
}
