/** A server that sends its status before it has looked at the request: what it refuses then is a refusal all the same. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine, EngineRequest } from "../../gpu-backend/engine/engine.ts";
import { accepted, request, runOf, seen } from "../conformance/engine-runs.ts";
import { openAdapter } from "./openai-adapter.ts";
import { openAiServer, type OpenAiServer } from "./openai-server.ts";

let server: OpenAiServer;
let engine: Engine;
beforeAll(async () => {
  server = await openAiServer();
  engine = await openAdapter(server);
});
afterAll(async () => {
  await engine.close();
  await server.close();
});

test.each([
  ["a token", { tokens: [1, 2, 400_000, 3] }, { reason: "unknown_token", index: 2 }, "Token id 400000 is out of vocabulary"],
  ["a schema", { grammar: { type: "json_object", strict: true } }, { reason: "grammar" }, "The grammar can't be compiled"],
] as const)("a refusal of %s that comes as the stream's only event is a refusal", async (_, asked, refusal, message) => {
  server.next = (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`data: ${JSON.stringify({ error: { message, type: "BadRequestError", code: 400 } })}\n\ndata: [DONE]\n\n`);
  };
  expect(await engine.run(request("x", asked as Partial<EngineRequest>))).toMatchObject({ type: "refused", ...refusal });
  expect(engine.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
  expect((await runOf(engine, "goes on", { maxTokens: 2 })).finished.reason).toBe("length");
});

test("a stream that breaks before its first event fails its own run, and the runs beside it go on", async () => {
  const beside = await accepted(engine, request("beside", { maxTokens: 60 }));
  server.next = (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    setImmediate(() => response.destroy());
  };
  expect((await runOf(engine, "breaks", { maxTokens: 4 })).finished.reason).toBe("error");
  expect((await seen(beside)).finished.reason).toMatch(/stop|length/);
});
