/** Whatever a replica answers with that is no answer, another one is asked; and how a stream ends whose replica was lost. */
import { describe, expect, it } from "vitest";
import { HEADER } from "../../src/wire/headers.ts";
import { LAST_SEQUENCE_NUMBERS } from "../../src/wire/lost-answer.ts";
import { encodeVerdict, VERDICT_FOLLOWS } from "../../src/wire/verdict.ts";
import { ask, Replicas } from "./edge.ts";
import { capacity, MockReplica } from "./mock-replica.ts";

const replicas = new Replicas();
const roomy = { capacity: { ...capacity, sequences: 500 } };
await MockReplica.join("default", "one", roomy);
await MockReplica.join("default", "two", roomy);

const JSON_TYPE = { "content-type": "application/json" };
const SSE_TYPE = { "content-type": "text/event-stream; charset=utf-8" };
const text = (body: string, headers: Record<string, string> = JSON_TYPE, status = 200) => new Response(body, { status, headers });
const empty = (status: number, headers: Record<string, string> = {}) => new Response(null, { status, headers });
const verdict = (status: number, contentType: string, body: string) =>
  text(encodeVerdict({ status, contentType }) + body, { [HEADER.verdict]: VERDICT_FOLLOWS });
const ERROR_BODY = '{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":null}}';

const SHAPES: [name: string, answer: () => Response][] = [
  ["101", () => new Response(null, { status: 101, webSocket: new WebSocketPair()[0] })],
  ["an empty 200", () => text("")],
  ["201", () => text("{}", JSON_TYPE, 201)],
  ["204", () => empty(204)],
  ["205", () => empty(205)],
  ["302", () => empty(302, { location: "http://127.0.0.1:1/" })],
  ["304", () => empty(304)],
  ["half of a JSON object, well ended", () => text('{"id":"x"')],
  ["a JSON text that is no object", () => text('"ok"')],
  ["a page", () => text("<html>Welcome to the proxy</html>", { "content-type": "text/html" })],
  ["401 of a proxy", () => text(ERROR_BODY, JSON_TYPE, 401)],
  ["404 of a proxy", () => text("<html>Not found</html>", { "content-type": "text/html" }, 404)],
  ["407", () => empty(407)],
  ["429", () => text(ERROR_BODY, JSON_TYPE, 429)],
  ["an empty 400", () => empty(400)],
  ["a 400 that is a page", () => text("<html>Bad request</html>", { "content-type": "text/html" }, 400)],
  ["503", () => text(ERROR_BODY, JSON_TYPE, 503)],
  ["a verdict of 204", () => verdict(204, "application/json", "")],
  ["a verdict of 304", () => verdict(304, "application/json", "")],
  ["a verdict with an empty 200", () => verdict(200, "application/json", "")],
];
const chat = { model: "demo", messages: [{ role: "user", content: "Hi" }] };
const completion = '{"id":"chatcmpl-1","object":"chat.completion","choices":[]}';
const stream = 'data: {"choices":[]}\n\ndata: [DONE]\n\n';

/** The first replica that is asked answers so, all others well. */
function firstAnswers(bad: () => Response, good: () => Response): void {
  replicas.answer = () => (replicas.sent.length === 1 ? bad() : good());
}

describe.each(SHAPES)("%s is no answer", (_name, bad) => {
  it("to a unary request: another replica is asked", async () => {
    firstAnswers(bad, () => text(completion));
    const reply = await ask("/v1/chat/completions", chat);
    expect([reply.status, await reply.text(), reply.headers.get(HEADER.attempts)]).toEqual([200, completion, expect.stringMatching("1|2")]);
    expect(replicas.sent).toHaveLength(2);
  });

  it("to a streamed one: another replica is asked", async () => {
    firstAnswers(bad, () => text(stream, SSE_TYPE));
    const reply = await ask("/v1/chat/completions", { ...chat, stream: true });
    expect([reply.status, reply.headers.get("content-type")]).toEqual([200, SSE_TYPE["content-type"]]);
    expect(await reply.text()).toContain(stream);
    expect(replicas.sent).toHaveLength(2);
  });
});

it("a stream is no answer to a unary request, nor a whole answer to a streamed one", async () => {
  firstAnswers(
    () => text(stream, SSE_TYPE),
    () => text(completion),
  );
  expect(await (await ask("/v1/chat/completions", chat)).text()).toBe(completion);
  replicas.sent = [];
  firstAnswers(
    () => text(completion),
    () => text(stream, SSE_TYPE),
  );
  expect(await (await ask("/v1/chat/completions", { ...chat, stream: true })).text()).toContain(stream);
});

it("a content type is the edge's own, whatever a replica calls its answer", async () => {
  replicas.answer = () => verdict(200, "text/html\r\nset-cookie: a=b", completion);
  const reply = await ask("/v1/chat/completions", chat);
  expect([reply.status, reply.headers.get("content-type"), reply.headers.get("set-cookie")]).toEqual([200, "application/json", null]);
});

it("a replica's refusal is passed on", async () => {
  replicas.answer = () => text(ERROR_BODY, JSON_TYPE, 400);
  const reply = await ask("/v1/chat/completions", chat);
  expect([reply.status, await reply.text(), replicas.sent.length]).toEqual([400, ERROR_BODY, 1]);
});

describe("a stream whose replica is lost after it began", () => {
  const lostIn = async (path: string, body: object, first: string): Promise<{ event: string | null; data: unknown }[]> => {
    let pulls = 0;
    const cut = new ReadableStream<Uint8Array>({
      pull: (controller) => (pulls++ === 0 ? controller.enqueue(new TextEncoder().encode(first)) : controller.error(new Error("cut"))),
    });
    replicas.answer = () => new Response(cut, { headers: SSE_TYPE });
    const reply = await ask(path, { model: "demo", stream: true, ...body });
    const read = await reply.text();
    expect(read).toContain(first);
    const events = read.split("\n\n").filter((event) => event.includes("data: "));
    return events.slice(first.split("data: ").length - 1).map((event) => ({
      event: /^event: (.*)$/m.exec(event)?.[1] ?? null,
      data: JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? ""),
    }));
  };
  const message = expect.stringContaining("lost") as string;

  it("on responses ends with `error` and `response.failed`, numbered after all before", async () => {
    const created = {
      type: "response.created",
      sequence_number: 0,
      response: { id: "resp_1", object: "response", created_at: 1_700_000_000, status: "in_progress" },
    };
    const ended = await lostIn("/v1/responses", { input: "Hi" }, `event: response.created\ndata: ${JSON.stringify(created)}\n\n`);
    expect(ended).toEqual([
      {
        event: "error",
        data: {
          type: "error",
          sequence_number: LAST_SEQUENCE_NUMBERS[0],
          code: "replica_lost",
          message,
          param: null,
          error: { type: "server_error", code: "replica_lost", message, param: null },
        },
      },
      {
        event: "response.failed",
        data: {
          type: "response.failed",
          sequence_number: LAST_SEQUENCE_NUMBERS[1],
          response: expect.objectContaining({
            id: expect.stringMatching(/^resp_/),
            object: "response",
            created_at: 1_700_000_000,
            status: "failed",
            model: "demo",
            error: { code: "server_error", message },
            output: [],
          }),
        },
      },
    ]);
  });

  it("on messages ends with `error` in Anthropic's envelope", async () => {
    const ended = await lostIn("/v1/messages", { ...chat, max_tokens: 4 }, 'event: message_start\ndata: {"type":"message_start"}\n\n');
    const said = { type: "error", error: { type: "api_error", message }, request_id: expect.stringMatching(/^req_/) };
    expect(ended).toEqual([{ event: "error", data: said }]);
  });

  it.each([
    ["/v1/chat/completions", { messages: chat.messages }],
    ["/v1/completions", { prompt: "Hi" }],
  ])("on %s ends with an error object and no [DONE]", async (path, body) => {
    const ended = await lostIn(path, body, 'data: {"choices":[]}\n\n');
    expect(ended).toEqual([{ event: null, data: { error: { message, type: "server_error", param: null, code: "replica_lost" } } }]);
  });
});
