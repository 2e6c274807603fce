/** Whatever comes in, the edge answers a 4xx in OpenAI's envelope, at once, and is as well as before. */
import { request as httpRequest } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { mutated, seeded } from "./mutations.ts";
import { metric, runningAt, type Started, startProduct, until } from "./started.ts";

const ANSWER_MS = 15_000;
const MIB = 1024 * 1024;
const DEEP = 20_000;

let product: Started;
beforeAll(async () => {
  product = await startProduct({ replicas: 1, sequences: 8, contextTokens: 1024 });
});
afterAll(() => product?.stop());

interface Answer {
  status: number;
  text: string;
}

interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

async function send(
  body: string | Uint8Array<ArrayBuffer> | ReadableStream,
  headers: Record<string, string> = product.headers,
): Promise<Answer> {
  const response = await fetch(`${product.url}/v1/chat/completions`, {
    method: "POST",
    headers,
    body,
    signal: AbortSignal.timeout(ANSWER_MS),
    ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
  } as RequestInit);
  return { status: response.status, text: await response.text() };
}

/** The envelope's content; throws unless it is OpenAI's, with all four keys and no others. */
function errorOf({ status, text }: Answer): ErrorBody["error"] {
  expect(status, text).toBeGreaterThanOrEqual(400);
  expect(status, text).toBeLessThan(500);
  const body = JSON.parse(text) as ErrorBody;
  expect(Object.keys(body)).toEqual(["error"]);
  expect(Object.keys(body.error).toSorted()).toEqual(["code", "message", "param", "type"]);
  const { message, type, param, code } = body.error;
  expect(message.length).toBeGreaterThan(10);
  expect(message.length).toBeLessThan(1_000);
  expect(type).toBe("invalid_request_error");
  expect(param === null || typeof param === "string").toBe(true);
  expect(code === null || typeof code === "string").toBe(true);
  return body.error;
}

const valid = (): Record<string, unknown> => ({
  model: product.model,
  max_tokens: 1,
  temperature: 0,
  messages: [{ role: "user", content: "Hi" }],
});

async function refused(fields: Record<string, unknown>): Promise<ErrorBody["error"]> {
  return errorOf(await send(JSON.stringify({ ...valid(), ...fields })));
}

afterEach(async () => {
  expect((await send(JSON.stringify(valid()))).status).toBe(200);
  const [replica] = product.replicas;
  if (replica !== undefined) await until("the replica runs nothing", async () => (await runningAt(replica)) === 0);
  await until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0);
});

describe("a body that is no request", () => {
  it.each(["{", '{"model": }', "nonsense", '{"model":"x"}}', '{"a":1,}', "'x'", '"\u0001"', "\u0000", "NaN"])(
    "of malformed JSON gets a 400: %j",
    async (text) => {
      expect(errorOf(await send(text)).message).toMatch(/not valid JSON/);
    },
  );

  it.each(["[]", "[{}]", "5", "null", '"text"', "true"])("that is JSON but no object gets a 400: %s", async (text) => {
    expect(errorOf(await send(text)).message).toMatch(/must be a JSON object/);
  });

  it("that is empty gets a 400, in three ways", async () => {
    expect(errorOf(await send("")).message).toMatch(/empty/);
    expect(errorOf(await send(new ReadableStream({ start: (controller) => controller.close() }))).message).toMatch(/empty/);
    expect((await refused({ model: undefined })).param).toBe("model");
  });

  it("with invalid UTF-8 gets a 400", async () => {
    const text = Buffer.from(JSON.stringify({ ...valid(), messages: [{ role: "user", content: "a@b" }] }));
    for (const byte of [0xff, 0xc0, 0x80, 0xed]) {
      const broken = Buffer.from(text);
      broken[broken.indexOf("@")] = byte;
      expect(errorOf(await send(broken)).message).toMatch(/not valid UTF-8/);
    }
    const cut = Buffer.concat([Buffer.from('{"model":"'), Buffer.from([0xf0, 0x9f, 0x99])]);
    expect(errorOf(await send(cut)).message).toMatch(/not valid UTF-8/);
  });
});

describe("a wrong field", () => {
  it.each([
    ["model", { model: 5 }],
    ["model", { model: "" }],
    ["model", { model: "gpt-9" }],
    ["messages", { messages: [] }],
    ["messages", { messages: "Hi" }],
    ["messages", { messages: null }],
    ["messages[0]", { messages: ["Hi"] }],
    ["messages[0].role", { messages: [{ content: "Hi" }] }],
    ["messages[0].role", { messages: [{ role: "robot", content: "Hi" }] }],
    ["messages[0].role", { messages: [{ role: ["user"], content: "Hi" }] }],
    ["messages[0].content", { messages: [{ role: "user" }] }],
    ["messages[0].content", { messages: [{ role: "user", content: [] }] }],
    ["messages[0].content[0].type", { messages: [{ role: "user", content: [{ type: "smell", text: "x" }] }] }],
    ["messages[0].content[0].text", { messages: [{ role: "user", content: [{ type: "text", text: 1 }] }] }],
    ["messages[0].tool_call_id", { messages: [{ role: "tool", content: "x" }] }],
    ["stream", { stream: "yes" }],
    ["stream_options", { stream: true, stream_options: [] }],
    ["max_tokens", { max_tokens: -1 }],
    ["max_tokens", { max_tokens: 1.5 }],
    ["max_tokens", { max_tokens: 1e300 }],
    ["max_completion_tokens", { max_completion_tokens: "5" }],
    ["temperature", { temperature: "hot" }],
    ["top_p", { top_p: -0.1 }],
    ["seed", { seed: 1.5 }],
    ["seed", { seed: 1e20 }],
    ["stop", { stop: ["a", "b", "c", "d", "e"] }],
    ["n", { n: 0 }],
    ["tools", { tools: {} }],
    ["tools[0].type", { tools: [{ type: "retrieval" }] }],
    ["tools[0].function.parameters", { tools: [{ type: "function", function: { name: "f", parameters: [] } }] }],
    ["tool_choice", { tool_choice: "always" }],
  ])("%s: %j", async (param, fields) => {
    expect((await refused(fields)).param).toBe(param);
  });

  it("a name that is an object's own", async () => {
    for (const model of ["__proto__", "constructor", "toString"]) expect((await refused({ model })).code).toBe("model_not_found");
    expect((await send(`{"__proto__":{"n":5},"constructor":1,${JSON.stringify(valid()).slice(1)}`)).status).toBe(200);
  });

  it("a prompt beyond the context", async () => {
    for (const stream of [false, true]) {
      const error = await refused({ stream, messages: [{ role: "user", content: "many words and more ".repeat(2_000) }] });
      expect(error).toMatchObject({ code: "context_length_exceeded", param: "messages" });
    }
  });
});

describe("size and depth", () => {
  const big = (): Buffer<ArrayBuffer> => Buffer.from(JSON.stringify({ ...valid(), pad: "x".repeat(9 * MIB) }));

  it("9 MiB with a content-length", async () => {
    const answer = await send(big());
    expect(answer.status).toBe(413);
    expect(errorOf(answer).code).toBe("request_too_large");
  });

  it("9 MiB in chunks", async () => {
    const { port } = new URL(product.url);
    const { status, text } = await new Promise<Answer>((resolve, reject) => {
      const request = httpRequest({ host: "127.0.0.1", port, path: "/v1/chat/completions", method: "POST", headers: product.headers });
      request.on("error", reject);
      request.on("response", (response) => {
        let said = "";
        response.on("data", (part: Buffer) => (said += part.toString()));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: said }));
        response.on("error", reject);
      });
      const body = big();
      for (let at = 0; at < body.length; at += 64 * 1024) request.write(body.subarray(at, at + 64 * 1024));
      request.end();
    });
    expect(status).toBe(413);
    expect(errorOf({ status, text }).code).toBe("request_too_large");
  });

  const nested = (open: string, close: string): string => open.repeat(DEEP) + close.repeat(DEEP);
  const objects = `${'{"a":'.repeat(DEEP)}1${"}".repeat(DEEP)}`;
  const arrays = nested("[", "]");
  const withField = (field: string): string => `{${field},${JSON.stringify(valid()).slice(1)}`;

  it.each([
    ["as the body, arrays", () => arrays, null],
    ["as the body, objects", () => objects, null],
    ["unclosed", () => "[".repeat(DEEP), null],
    ["in an unknown field", () => withField(`"whatever":${objects}`), "whatever"],
    ["in metadata", () => withField(`"metadata":${objects}`), "metadata"],
    ["in tool parameters", () => withField(`"tools":[{"type":"function","function":{"name":"f","parameters":${objects}}}]`), "tools[0]"],
    [
      "in a message",
      () => withField(`"messages":[{"role":"user","content":${arrays}}]`).replace(/,"messages":\[\{"role":"user","content":"Hi"\}\]/, ""),
      "messages[0]",
    ],
    ["in stop", () => withField(`"stop":${arrays}`), "stop"],
  ])(`${DEEP} deep %s`, async (_name, body, param) => {
    const error = errorOf(await send(body()));
    if (param !== null) expect(error.param?.startsWith(param), String(error.param)).toBe(true);
  });
});

describe("a key", () => {
  it.each([
    ["none", {}],
    ["empty", { authorization: "" }],
    ["no scheme", { authorization: "wp_dev_1_x" }],
    ["basic", { authorization: "Basic dXNlcjpwYXNz" }],
    ["forged", { authorization: "Bearer wp_dev_1_ca1f5ad714ccdf1203881a201VVW3N9x" }],
    ["long", { authorization: `Bearer wp_${"x".repeat(10_000)}` }],
    ["x-api-key forged", { "x-api-key": "wp_dev_1_x" }],
  ] as [string, Record<string, string>][])("%s", async (_name, headers) => {
    const answer = await send(JSON.stringify(valid()), { "content-type": "application/json", ...headers });
    expect(answer.status).toBe(401);
    expect(errorOf(answer).code).toBe("invalid_api_key");
  });

  it("in x-api-key is taken", async () => {
    expect((await send(JSON.stringify(valid()), { "x-api-key": product.apiKey })).status).toBe(200);
  });
});

it("500 mutations of a valid body", async () => {
  const random = seeded(20_261_123);
  const rich = (): Record<string, unknown> => ({
    ...valid(),
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Weather in Oslo? 🙂" }] },
      { role: "assistant", content: null, tool_calls: [{ id: "c1", type: "function", function: { name: "w", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "c1", content: "Rain" },
      { role: "user", content: "Thanks" },
    ],
    tools: [{ type: "function", function: { name: "w", description: "d", parameters: { type: "object", properties: {} } } }],
    tool_choice: "auto",
    stop: ["zzz"],
    seed: 1,
    stream: false,
    stream_options: null,
    metadata: { user: "u" },
    // A mutation may free one of the two limits; not both, mostly.
    max_completion_tokens: 1,
  });
  const bodies = Array.from({ length: 500 }, () => mutated(rich(), random));
  const statuses = new Map<number, number>();
  const next = bodies.entries();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      // All eight take from the one iterator.
      for (const [index, body] of next) {
        const answer = await send(Uint8Array.from(body));
        const { status } = answer;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200) continue;
        try {
          errorOf(answer);
        } catch (error) {
          throw new Error(`Mutation ${index}, ${JSON.stringify(body.toString("latin1"))}, got ${status}: ${answer.text}`, { cause: error });
        }
      }
    }),
  );
  // Both kinds occur, or the mutations are no good.
  expect(statuses.get(200) ?? 0).toBeGreaterThan(20);
  expect(statuses.get(400) ?? 0).toBeGreaterThan(200);
});
