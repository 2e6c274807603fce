/** A client that closes its connection and says nothing more: the engine stops, whatever was asked and in whatever state it is. */
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { metric, runningAt, type Started, startProduct, until } from "./started.ts";

/**
 * docs/operations.md says 5 s: white space from 3 s on, and one step of the engine. Beside other tests a step takes several times as long; without white
 * space the engine would work on for half a minute.
 */
const IDLE_WITHIN_MS = 15_000;
const OUT_OF_LINE_WITHIN_MS = 15_000;

let product: Started;
beforeAll(async () => {
  product = await startProduct({ replicas: 1, sequences: 2, contextTokens: 32_768 });
});
afterAll(() => product?.stop());

const WRITES = "Tell me everything.";
/** So many that its prompt alone takes the demo model far longer than a client waits here. */
const READS = "many words and more of them ".repeat(2_000);
const tokens = { temperature: 0, max_tokens: 30_000 };
const APIS = [
  ["/v1/chat/completions", (content: string) => ({ ...tokens, messages: [{ role: "user", content }] })],
  ["/v1/completions", (prompt: string) => ({ ...tokens, prompt })],
  ["/v1/messages", (content: string) => ({ ...tokens, messages: [{ role: "user", content }] })],
  ["/v1/responses", (input: string) => ({ temperature: 0, max_output_tokens: 30_000, store: false, input })],
] as const;

/** A request on a socket of its own, which can be closed as the kernel closes it: with a FIN. */
function send(path: string, body: object): Socket {
  const { hostname, port } = new URL(product.url);
  const text = JSON.stringify({ model: product.model, ...body });
  const headers = Object.entries({ host: hostname, ...product.headers, "content-length": String(Buffer.byteLength(text)) });
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  // Bytes that were not read would make it a reset.
  socket.resume();
  socket.write(`POST ${path} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${text}`);
  return socket;
}

async function running(): Promise<number> {
  return (await Promise.all(product.replicas.map(runningAt))).reduce((sum, count) => sum + count, 0);
}

const nothingRuns = (): Promise<unknown> => until("nothing runs", async () => (await running()) === 0, IDLE_WITHIN_MS);

describe.each(APIS)("%s", (path, bodyOf) => {
  describe.each([
    ["while its prompt is computed", READS],
    ["while its answer is written", WRITES],
  ])("%s", (_when, text) => {
    it.each([
      ["whole", {}],
      ["streamed", { stream: true }],
    ])("%s", async (_how, more) => {
      const socket = send(path, { ...bodyOf(text), ...more });
      await until("it runs", async () => (await running()) === 1);
      socket.end();
      socket.destroy();
      await nothingRuns();
      await until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0);
    });
  });
});

it("in the pool's line every waiter is gone soon, whole or streamed", async () => {
  const long = { ...tokens, messages: [{ role: "user", content: WRITES }] };
  const before = [1, 2].map(() => send("/v1/chat/completions", long));
  await until("they run", async () => (await running()) >= 2);
  const waiting = APIS.flatMap(([path, bodyOf]) => [{}, { stream: true }].map((more) => send(path, { ...bodyOf(READS), ...more })));
  const pending = (): Promise<number | null> => metric(product, "warmpath_router_queue_pending_requests");
  await until("they wait", async () => ((await pending()) ?? 0) >= waiting.length / 2);
  for (const socket of waiting) socket.destroy();
  await until("nobody waits", async () => (await pending()) === 0, OUT_OF_LINE_WITHIN_MS);
  for (const socket of before) socket.destroy();
  await nothingRuns();
  expect(await metric(product, "warmpath_leases_expired_total")).toBe(0);
});
