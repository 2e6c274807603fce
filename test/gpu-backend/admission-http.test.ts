/** Who is let in to a replica's HTTP side, and what it reads of the others. */
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AnswerServer, startAnswerServer } from "./answer-server.ts";
import { startDemo } from "./engine-runs.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";

const PATH = "/v1/chat/completions";
const MIB = 1_048_576;

let engine: LlamaEngine;
let server: AnswerServer;
beforeAll(async () => {
  engine = await startDemo();
  server = await startAnswerServer(engine);
});
afterAll(async () => {
  await server?.close();
  await engine?.close();
});

const bodyOf = (more: object = {}): string =>
  JSON.stringify({ model: engine.card.model, max_tokens: 1, messages: [{ role: "user", content: "Hi there." }], ...more });

/** The head of a request and some bytes; what comes back before anything more is sent. */
async function sendHead(headers: Record<string, string>, bytes = ""): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  const lines = Object.entries({ host: "replica", "content-type": "application/json", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.write(`POST ${PATH} HTTP/1.1\r\n${lines.join("")}\r\n${bytes}`);
  const [said] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return said.toString();
}

async function send(path: string, headers: Record<string, string>, body: string | Buffer): Promise<{ status: number; message: string }> {
  const answer = await fetch(server.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: new Uint8Array(Buffer.from(body)),
  });
  const said = (await answer.json()) as { error?: { message: string } };
  return { status: answer.status, message: said.error?.message ?? "" };
}

describe("by the headers alone, before a byte of the body has come", () => {
  it.each([
    ["no admission", () => ({}), 403],
    ["a forged one", () => ({ "x-warmpath-admission": "mac.{}" }), 403],
    ["one for a body of another length", () => server.admitted(PATH, bodyOf()).headers, 403],
    ["one for another path", () => server.admitted("/v1/prewarm", bodyOf()).headers, 403],
    ["an epoch that is over", () => ({ ...server.admitted(PATH, bodyOf()).headers, "x-warmpath-epoch": "1" }), 409],
  ])("%s is refused", async (_name, headers, status) => {
    expect(await sendHead({ ...headers(), "content-length": String(8 * MIB) })).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  it("two lengths are refused", async () => {
    const { headers, body } = server.admitted(PATH, bodyOf());
    const both = { ...headers, "content-length": String(body.byteLength), "transfer-encoding": "chunked" };
    expect(await sendHead(both, `${body.byteLength.toString(16)}\r\n${body.toString()}\r\n0\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe("an unused admission", () => {
  it.each([
    ["another max_tokens", { max_tokens: 9 }],
    ["another last message of the same length", { messages: [{ role: "user", content: "Hi theré." }] }],
    ["another temperature", { temperature: 2 }],
  ])("takes no %s", async (_name, more) => {
    const { headers } = server.admitted(PATH, bodyOf());
    expect(await send(PATH, headers, bodyOf(more))).toEqual({
      status: 403,
      message: "The admission is not accepted: it was given for another body.",
    });
  });

  it("takes no other end of the history", async () => {
    const { headers, body } = server.admitted(PATH, bodyOf());
    expect(await send(PATH, { ...headers, "x-warmpath-history-bytes": "2" }, body)).toMatchObject({ status: 403 });
  });

  it("takes its own body, once", async () => {
    const { headers, body } = server.admitted(PATH, bodyOf());
    expect(await send(PATH, headers, body)).toMatchObject({ status: 200 });
    expect(await send(PATH, headers, body)).toMatchObject({ status: 403 });
  });
});
