/** How many replicas are asked for one request before it is given up, whatever goes wrong with each of them. */
import { describe, expect, it } from "vitest";
import { apiError } from "../../src/errors.ts";
import { ask, Replicas } from "./edge.ts";
import { capacity, MockReplica } from "./mock-replica.ts";

const replicas = new Replicas();
const roomy = { capacity: { ...capacity, sequences: 500 } };
/** More than are asked in any case here. */
const NAMES = Array.from({ length: 10 }, (_, index) => `r${index}`);
for (const name of NAMES) await MockReplica.join("default", name, roomy);

const JSON_TYPE = { "content-type": "application/json" };
const SSE_TYPE = { "content-type": "text/event-stream; charset=utf-8" };
const unary = { model: "demo", messages: [{ role: "user", content: "Hi" }] };
const streamed = { ...unary, stream: true };
const busy = () => new Response("{}", { status: 503, headers: JSON_TYPE });
const replaced = () => new Response("{}", { status: apiError("epoch_replaced", "").status, headers: JSON_TYPE });
const replicasAsked = (): number => new Set(replicas.sent.map(({ url }) => new URL(url).origin)).size;

describe("a request that no replica answers", () => {
  it.each([
    ["whole", unary],
    ["streamed", streamed],
  ])("is tried at four replicas when it is to be answered %s and each refuses it", async (_how, body) => {
    replicas.answer = busy;
    const reply = await ask("/v1/chat/completions", body);
    expect([reply.status, reply.headers.get("retry-after")]).toEqual([503, "1"]);
    expect([replicas.sent.length, replicasAsked()]).toEqual([4, 4]);
  });

  it("is tried at four replicas when each breaks off in a whole answer", async () => {
    replicas.answer = () => new Response('{"id":', { headers: JSON_TYPE });
    const reply = await ask("/v1/chat/completions", unary);
    expect([reply.status, replicas.sent.length, replicasAsked()]).toEqual([503, 4, 4]);
  });

  it("is tried at four replicas when each breaks off in a stream before its first event", async () => {
    replicas.answer = () => new Response(": here\n\n", { headers: SSE_TYPE });
    const reply = await ask("/v1/chat/completions", streamed);
    expect(await reply.text()).toContain("No replica could take the request.");
    expect([replicas.sent.length, replicasAsked()]).toEqual([4, 4]);
  });

  it("is tried at four replicas besides those that had begun a new epoch", async () => {
    replicas.answer = () => (replicas.sent.length % 2 === 1 ? replaced() : busy());
    const reply = await ask("/v1/chat/completions", unary);
    expect([reply.status, replicas.sent.length]).toEqual([503, 8]);
  });

  it("is given up after eight replicas that had begun a new epoch", async () => {
    replicas.answer = replaced;
    const reply = await ask("/v1/chat/completions", unary);
    expect([reply.status, replicas.sent.length]).toEqual([503, 8]);
  });
});
