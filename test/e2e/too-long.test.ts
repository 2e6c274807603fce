/** A prompt that no context holds, in every API: refused at once and once, while others are served beside it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Started, startProduct } from "./started.ts";

const MOST_BODY_BYTES = 8 * 1_048_576;

let product: Started;
beforeAll(async () => {
  product = await startProduct({ replicas: 2, sequences: 2, contextTokens: 2_048 });
});
afterAll(() => product?.stop());

interface Api {
  path: string;
  envelope: object;
  /** A body around a text. */
  body: (text: string) => object;
}

const openai = (param: string): object => ({ error: { type: "invalid_request_error", code: "context_length_exceeded", param } });
const anthropic = {
  type: "error",
  error: { type: "invalid_request_error", message: expect.stringMatching(/^prompt is too long: /) as string },
};
const messages = (content: string): object => ({ max_tokens: 1, messages: [{ role: "user", content }] });
const APIS: readonly Api[] = [
  { path: "/v1/chat/completions", envelope: openai("messages"), body: messages },
  { path: "/v1/completions", envelope: openai("prompt"), body: (prompt) => ({ max_tokens: 1, prompt }) },
  { path: "/v1/responses", envelope: openai("input"), body: (input) => ({ max_output_tokens: 16, store: false, input }) },
  { path: "/v1/responses/input_tokens", envelope: openai("input"), body: (input) => ({ input }) },
  { path: "/v1/messages", envelope: anthropic, body: messages },
  { path: "/v1/messages/count_tokens", envelope: anthropic, body: (content) => ({ messages: [{ role: "user", content }] }) },
  { path: "/v1/prewarm", envelope: openai("messages"), body: messages },
];

/** Of so many bytes in all. */
function bodyOf({ body }: Api, unit: string, bytes: number, more: object = {}): string {
  const around = JSON.stringify({ model: product.model, ...body(""), ...more });
  const text = unit.repeat((bytes - Buffer.byteLength(around)) / Buffer.byteLength(JSON.stringify(unit).slice(1, -1)));
  return JSON.stringify({ model: product.model, ...body(text), ...more });
}

interface Answered {
  status: number;
  body: unknown;
  attempts: string | null;
}

async function post(path: string, body: string): Promise<Answered> {
  const response = await fetch(product.url + path, { method: "POST", headers: product.headers, body });
  const answer: unknown = await response.json();
  return {
    status: response.status,
    body: answer,
    attempts: response.headers.get("x-warmpath-attempts"),
  };
}

describe.each(APIS)("$path", (api) => {
  it.each([
    ["words of 8 MiB", "word ", MOST_BODY_BYTES],
    // No byte of it is sure to reach the tokenizer through a template: a replica counts.
    ["white space of 8 MiB", " ", MOST_BODY_BYTES],
    ["one word of 8 MiB", "abcdefgh", MOST_BODY_BYTES],
    ["what fits by its bytes, and not by its tokens", "?!", 20_000],
  ])("refuses %s in its own envelope, after one attempt at most", async (_name, unit, bytes) => {
    for (const more of api.path.endsWith("tokens") || api.path.endsWith("prewarm") ? [{}] : [{}, { stream: true }]) {
      const { status, body, attempts } = await post(api.path, bodyOf(api, unit, bytes, more));
      expect({ status, body }).toMatchObject({ status: 400, body: api.envelope });
      expect(attempts ?? "1").toBe("1");
    }
  });
});

it("keeps nobody waiting beside it", async () => {
  const [chat] = APIS;
  if (chat === undefined) throw new Error("no API");
  const long = [" ", "word ", "abcdefgh"].map((unit) => bodyOf(chat, unit, MOST_BODY_BYTES));
  let done = false;
  const flood = Promise.all(long.map((body) => post(chat.path, body))).finally(() => (done = true));
  const short: Answered[] = [];
  while (!done) short.push(await post(chat.path, bodyOf(chat, "hello ", 200)));
  for (const { status } of await flood) expect(status).toBe(400);
  expect(short.length).toBeGreaterThan(0);
  for (const { status } of short) {
    expect(status).toBe(200);
  }
});
