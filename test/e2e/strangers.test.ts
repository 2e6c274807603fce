/** Who may hold what of a self-hosted edge: bare workerd, and raw sockets of clients that have no right, say nothing or half of it. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundleEdge } from "../../cli/bundle.ts";
import { startWorkerd } from "../../cli/edge.ts";
import { loadSecrets, type Secrets } from "../../cli/secrets.ts";
import { until } from "./started.ts";

let state: string;
let secrets: Secrets;
let edge: { port: number; pid: number; end: () => void };

beforeAll(async () => {
  state = mkdtempSync(join(tmpdir(), "warmpath-strangers-"));
  secrets = loadSecrets(state);
  const variables = { WARMPATH_SECRET: secrets.deployment, WARMPATH_POOLS: "default" };
  const started = await startWorkerd({ port: 0, stateDirectory: state, variables }, await bundleEdge(state));
  if (started.type === "failed") throw new Error(started.message);
  const { process, port } = started;
  edge = { port, pid: process.pid ?? 0, end: () => void process.kill("SIGKILL") };
});
afterAll(() => {
  edge.end();
  rmSync(state, { recursive: true, force: true, maxRetries: 5 });
});

/** For what takes a moment, on a busy machine, too. What leaks stays. */
const SOON_MS = 20_000;
/** Below the 15 s after which workerd closes by itself what is idle. */
const CLOSED_MS = 10_000;

const descriptors = (): number => readdirSync(`/proc/${edge.pid}/fd`).length;

interface Raw {
  socket: Socket;
  heard: () => string;
  closed: Promise<void>;
}

function raw(text: string): Raw {
  const socket = connect(edge.port, "127.0.0.1", () => socket.write(text));
  let heard = "";
  socket.on("data", (data) => (heard += data.toString()));
  socket.on("error", () => undefined);
  return { socket, heard: () => heard, closed: new Promise((resolve) => socket.once("close", () => resolve())) };
}

const upgrade = (...headers: string[]): string =>
  [
    "GET /announce/default HTTP/1.1",
    "Host: edge.test",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...headers,
    "\r\n",
  ].join("\r\n");

const member = (): string => `authorization: Bearer ${secrets.joinToken("default")}`;

it("1,500 strangers get no socket, and their descriptors come back", { timeout: 120_000 }, async () => {
  await fetch(`http://127.0.0.1:${edge.port}/healthz`);
  const base = descriptors();
  const strangers = Array.from({ length: 1_500 }, (_, n) => raw(upgrade(...(n % 2 === 0 ? [] : ["authorization: Bearer wpj_nonsense"]))));
  // What they send on is read by nobody: as a frame it would have been one of 650 KB.
  for (const { socket } of strangers.slice(0, 10)) socket.write(Buffer.alloc(650_000, 0x81));
  for (const { heard, closed } of strangers) await Promise.race([closed, until("an answer", () => heard() !== "", 30_000)]);
  // So many at once may find an edge that is too busy to answer before it closes.
  for (const { heard } of strangers.slice(10)) expect(heard()).toMatch(/^$|^HTTP\/1\.1 401 [^]*invalid_join_token/);
  for (const { socket } of strangers) socket.destroy();
  await until("descriptors are back", () => descriptors() <= base + 4, SOON_MS);
});

it("strangers that stay after their refusal are closed by the edge soon", { timeout: 60_000 }, async () => {
  const base = descriptors();
  const strangers = Array.from({ length: 50 }, () => raw(upgrade("authorization: Bearer wpj_nonsense")));
  await until("all are closed", () => strangers.every(({ socket }) => socket.destroyed), CLOSED_MS);
  for (const { heard } of strangers) expect(heard()).toMatch(/^HTTP\/1\.1 401 [^]*invalid_join_token/);
  await until("descriptors are back", () => descriptors() <= base + 4, CLOSED_MS);
});

it("a page of a browser gets no socket, whatever it knows", async () => {
  const page = raw(upgrade(member(), "Origin: https://evil.test"));
  await until("an answer", () => page.heard() !== "", SOON_MS);
  expect(page.heard()).toMatch(/^HTTP\/1\.1 403 /);
  page.socket.destroy();
});

it("replicas that come and go, with a close frame or without, leave no descriptor", { timeout: 120_000 }, async () => {
  const base = descriptors();
  for (const leave of ["vanish", "close"] as const) {
    const replicas = Array.from({ length: 50 }, () => raw(upgrade(member())));
    for (const { heard } of replicas) await until("an upgrade", () => heard() !== "", SOON_MS);
    for (const { heard } of replicas) expect(heard()).toMatch(/^HTTP\/1\.1 101 /);
    // An empty close frame, masked by zeros.
    for (const { socket } of replicas) {
      if (leave === "vanish") socket.destroy();
      else socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
    }
    await until(`descriptors are back after a ${leave}`, () => descriptors() <= base + 4, SOON_MS);
    for (const { socket } of replicas) socket.destroy();
  }
});

it(
  "unfinished bodies hold 64 MiB at most: beyond it the one that has brought nothing for longest is 408 at once",
  { timeout: 60_000 },
  async () => {
    const head = [
      "POST /v1/chat/completions HTTP/1.1",
      "Host: edge.test",
      `authorization: Bearer ${secrets.apiKey}`,
      "content-type: application/json",
      "content-length: 8000000",
      "\r\n",
    ].join("\r\n");
    const clients = Array.from({ length: 12 }, () => raw(head + " ".repeat(7_900_000)));
    const answered = (): Raw[] => clients.filter(({ heard }) => heard() !== "");
    await until(
      "four have given way",
      () => clients.filter(({ heard, socket }) => heard() !== "" || socket.destroyed).length === 4,
      SOON_MS,
    );
    // Whoever still sends may see a reset instead.
    for (const { heard } of answered()) expect(heard()).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
    const other = await fetch(`http://127.0.0.1:${edge.port}/v1/models`, { headers: { authorization: `Bearer ${secrets.apiKey}` } });
    expect(other.status).toBe(200);
    // 12 times 7.9 MB, without three.
    expect(answered()).toHaveLength(4);
    for (const { socket } of clients) socket.destroy();
  },
);

/** workerd's own limit is 15 s, which nothing sets. */
const IDLE_MS = 18_000;

it.concurrent(
  "connections that say nothing, or not all, or stay after their answer are closed by the edge",
  { timeout: 60_000 },
  async () => {
    const base = descriptors();
    const many = (make: () => Raw): Raw[] => Array.from({ length: 100 }, make);
    const all = [
      ...many(() => raw("")),
      ...many(() => raw("GET /healthz HTTP/1.1\r\nHost: edge.test\r\n")),
      ...many(() => raw("GET /v1/models HTTP/1.1\r\nHost: edge.test\r\n\r\n")),
    ];
    const refused = all.slice(200);
    for (const { heard } of refused) await until("a refusal", () => heard() !== "", 15_000);
    for (const { heard } of refused) expect(heard()).toMatch(/^HTTP\/1\.1 401 /);
    expect(descriptors()).toBeGreaterThan(base + 200);
    await until("all are closed", () => all.every(({ socket }) => socket.destroyed), IDLE_MS);
    await until("descriptors are back", () => descriptors() <= base + 4, 6_000);
  },
);

it.concurrent("a body that does not come is 408 after 30 s, and so is one that trickles", { timeout: 60_000 }, async () => {
  const head = [
    "POST /v1/chat/completions HTTP/1.1",
    "Host: edge.test",
    `authorization: Bearer ${secrets.apiKey}`,
    "content-type: application/json",
    "content-length: 8000000",
    '\r\n{"model":',
  ].join("\r\n");
  const [silent, slow] = [raw(head), raw(head)];
  const trickle = setInterval(() => slow.socket.write(" "), 1_000);
  const startedMs = performance.now();
  for (const { heard } of [silent, slow]) await until("an answer", () => heard() !== "", 45_000);
  clearInterval(trickle);
  expect(performance.now() - startedMs).toBeGreaterThan(29_000);
  for (const { heard, socket } of [silent, slow]) {
    expect(heard()).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
    socket.destroy();
  }
});
