/** What hostile clients and strangers do at the door, one function an attack. Each resolves with what came of it, and never throws for it. */
import { randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

const MIB = 1024 * 1024;
const TIMEOUT_MS = 60_000;
/** A body that does not come is answered after 30 s. */
const LORIS_MS = 40_000;
const IDLE_SOCKETS = 300;
const IDLE_MS = 5_000;

export interface Door {
  port: number;
  model: string;
  /** Valid, of another tenant than the honest one. */
  apiKey: string;
  pool: string;
  random: () => number;
  /** Aborted when the part ends. */
  signal: AbortSignal;
}
/** Of one try: an HTTP status, or how it ended without one. */
export type Came = `${number}` | "left" | "closed" | "timeout";
export type Attack = (door: Door) => Promise<Came>;

interface Sent {
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** The client goes so long after it has sent all. */
  leavesMs?: number;
}

function send(door: Door, { method = "POST", path, headers = {}, body = "", leavesMs }: Sent): Promise<Came> {
  return new Promise((resolve) => {
    const length = { "content-length": String(Buffer.byteLength(body)) };
    const request = httpRequest({ host: "127.0.0.1", port: door.port, method, path, headers: { ...length, ...headers }, agent: false });
    const settle = (came: Came): void => {
      clearTimeout(timer);
      door.signal.removeEventListener("abort", leave);
      resolve(came);
      request.destroy();
    };
    const leave = (): void => settle("left");
    const timer = setTimeout(() => settle(leavesMs === undefined ? "timeout" : "left"), leavesMs ?? TIMEOUT_MS);
    door.signal.addEventListener("abort", leave);
    request.on("error", () => settle("closed"));
    request.on("response", (response) => {
      response.on("error", () => settle("closed"));
      response.on("end", () => settle(`${response.statusCode ?? 0}`));
      response.resume();
    });
    request.end(body);
  });
}

const keyed = (door: Door, type = "application/json"): Record<string, string> => ({
  authorization: `Bearer ${door.apiKey}`,
  "content-type": type,
});
const post = (door: Door, path: string, body: string | Buffer, more: Partial<Sent> = {}): Promise<Came> =>
  send(door, { path, body, headers: keyed(door), ...more });
const chatOf = (door: Door, more: object): string =>
  JSON.stringify({ model: door.model, max_tokens: 16, messages: [{ role: "user", content: "Hi" }], ...more });
const pick = <T>(door: Door, list: readonly [T, ...T[]]): T => list[Math.floor(door.random() * list.length)] ?? list[0];

/** Bodies as large as are taken are made once: the attacker's own work is not what is measured. */
const made = new Map<string, string>();
function once(name: string, make: () => string): string {
  const text = made.get(name) ?? make();
  made.set(name, text);
  return text;
}

const PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"] as const;

function textBody(door: Door, path: string, content: string, more: object = {}): string {
  const model = door.model;
  if (path === "/v1/completions") return JSON.stringify({ model, max_tokens: 1_000, prompt: content, ...more });
  if (path === "/v1/responses") return JSON.stringify({ model, store: false, max_output_tokens: 1_000, input: content, ...more });
  return JSON.stringify({ model, max_tokens: 1_000, messages: [{ role: "user", content }], ...more });
}

function tooLong(door: Door): Promise<Came> {
  const unit = pick(door, ["word ", " ", "abcdefgh", "?!"]);
  const path = pick(door, PATHS);
  const text = (): string => textBody(door, path, unit.repeat((8 * MIB - 300) / unit.length));
  return post(door, path, once(`${path}${unit}`, text));
}

function deepJson(door: Door): Promise<Came> {
  const open = pick(door, ["[", '{"a":']);
  return post(
    door,
    pick(door, PATHS),
    once(open, () => open.repeat((4 * MIB) / open.length)),
  );
}

const NESTED = { title: "nested" };
const nestedText = (depth: number): string =>
  `${'{"type":"object","properties":{"a":'.repeat(depth)}{"type":"string"}${'},"required":["a"],"additionalProperties":false}'.repeat(depth)}`;

function hugeSchema(door: Door): Promise<Came> {
  const form = (schema: object): object => ({ response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } } });
  const objectOf = (properties: object): object => ({
    type: "object",
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  });
  const values = (count: number): string[] => Array.from({ length: count }, (_, n) => `value number ${n}`);
  const count = pick(door, [1_000, 10_000, 200_000]);
  const schemas = [
    () => objectOf({ a: { type: "string", enum: values(count) } }),
    () => objectOf(Object.fromEntries(values(Math.min(count, 20_000)).map((name) => [name, { type: "integer" }]))),
    () => NESTED,
    () => objectOf({ a: { type: "string", pattern: "(a*)*".repeat(Math.min(count, 2_000)) } }),
    () => objectOf({ a: { type: "string", minLength: count * 1_000, maxLength: count * 10_000 } }),
  ];
  const chosen = Math.floor(door.random() * schemas.length);
  return post(
    door,
    "/v1/chat/completions",
    once(`schema ${chosen} ${count}`, () =>
      // Deeper than this process's own stack: as text.
      chatOf(door, form(schemas[chosen]?.() ?? {})).replace(JSON.stringify(NESTED), () => nestedText(Math.min(count, 3_000))),
    ),
  );
}

function wrongType(door: Door): Promise<Came> {
  const body = once("8 MiB", () => "x".repeat(8 * MIB));
  const bomb = (): string => gzipSync(Buffer.alloc(64 * MIB, " ")).toString("latin1");
  const path = pick(door, PATHS);
  switch (Math.floor(door.random() * 4)) {
    case 0:
      return post(door, path, body, { headers: keyed(door, pick(door, ["image/png", "text/xml", "multipart/form-data; boundary=x"])) });
    case 1:
      return post(door, path, body, { headers: { ...keyed(door), "content-encoding": pick(door, ["br", "zstd", "gzip, gzip"]) } });
    case 2:
      return post(door, path, Buffer.from(once("bomb", bomb), "latin1"), { headers: { ...keyed(door), "content-encoding": "gzip" } });
    default:
      return post(door, path, body);
  }
}

function absurdNumbers(door: Door): Promise<Came> {
  const field = pick(door, ["max_tokens", "n", "temperature", "top_p", "seed", "top_logprobs", "frequency_penalty"]);
  const value = pick(door, ["1e308", "-1e308", "1e999", "-1", "9007199254740993", "0.1e-400", '"12"', "null", "[[]]"]);
  return post(
    door,
    "/v1/chat/completions",
    `{"model":${JSON.stringify(door.model)},"messages":[{"role":"user","content":"Hi"}],"${field}":${value}}`,
    {
      leavesMs: 2_000,
    },
  );
}

/** At once, in its prefill or in its decode, whole or streamed. */
function leaves(door: Door): Promise<Came> {
  const path = pick(door, PATHS);
  const words = `${door.random()} many words and more of them `.repeat(pick(door, [1, 20, 120]));
  return post(door, path, textBody(door, path, words, { stream: door.random() < 0.5 }), {
    leavesMs: pick(door, [0, 5, 100, 500, 1_500, 4_000]),
  });
}

function rubbishUrl(door: Door): Promise<Came> {
  const path = pick(door, [
    "//",
    "/v1/../../etc/passwd",
    `/${"a".repeat(8_000)}`,
    "/%",
    "/%00%ff/v1/models",
    "/v1/models/%E0%A4%A",
    `/v1/decisions/${"x".repeat(3_000)}`,
    `/v1/responses/resp_${"9".repeat(500)}`,
    "/v1/decisions?limit=1e99",
    `/v1/models?${"a=b&".repeat(1_500)}`,
  ]);
  const method = pick(door, ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"]);
  return send(door, { method, path, headers: keyed(door) });
}

/** Nothing is written unless `text` has something; resolves when the other side closes it, or after `ms`. */
function hold(door: Door, text: string, ms: number, trickle: string | null = null): Promise<Came> {
  return new Promise((resolve) => {
    const socket: Socket = connect(door.port, "127.0.0.1", () => socket.write(text));
    let came: Came = "closed";
    const timer = trickle === null ? undefined : setInterval(() => socket.write(trickle), 1_000);
    const end = (): void => {
      clearInterval(timer);
      clearTimeout(limit);
      door.signal.removeEventListener("abort", leave);
      socket.destroy();
      resolve(came);
    };
    const leave = (): void => {
      if (came === "closed") came = "left";
      end();
    };
    const limit = setTimeout(leave, ms);
    door.signal.addEventListener("abort", leave);
    socket.on("data", (data) => {
      came = /^HTTP\/1\.1 (\d{3}) /.test(data.toString("latin1")) ? (data.toString("latin1").slice(9, 12) as Came) : came;
      // Whoever has its answer goes.
      end();
    });
    socket.on("error", () => undefined);
    socket.on("close", end);
  });
}

const head = (line: string, ...headers: string[]): string => `${[line, "Host: edge.test", ...headers].join("\r\n")}\r\n\r\n`;

function slowBody(door: Door): Promise<Came> {
  const begun = head(
    `POST ${pick(door, PATHS)} HTTP/1.1`,
    `authorization: Bearer ${door.apiKey}`,
    "content-type: application/json",
    "content-length: 8000000",
  );
  // Some bring most of their body at once, so that much is held for them.
  const brought = door.random() < 0.3 ? once("7 MB", () => " ".repeat(7_000_000)) : '{"model":';
  return hold(door, begun + brought, LORIS_MS, " ");
}

async function idleSockets(door: Door): Promise<Came> {
  const sockets = Array.from({ length: IDLE_SOCKETS }, (_, n) => hold(door, n % 2 === 0 ? "" : "GET /healthz HTTP/1.1\r\nHost:", IDLE_MS));
  await Promise.all(sockets);
  return "left";
}

/** Of a client that has a key. */
export const CLIENT_ATTACKS: Readonly<Record<string, Attack>> = {
  tooLong,
  deepJson,
  hugeSchema,
  wrongType,
  absurdNumbers,
  leaves,
  rubbishUrl,
  slowBody,
  idleSockets,
};

function upgrade(door: Door, ...headers: string[]): string {
  return head(
    `GET /announce/${door.pool} HTTP/1.1`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...headers,
  );
}

/** What follows the upgrade would be the begin of a frame of 650 KB. */
const frames = (): string =>
  once("frame", () => `\x81\xff\0\0\0\0\0\x09\xeb\x10\0\0\0\0${'{"type":"heartbeat","a":"'.padEnd(650_000, "a")}`);

/** Of those who have none. */
export const STRANGER_ATTACKS: Readonly<Record<string, Attack>> = {
  noToken: (door) => hold(door, upgrade(door), 10_000),
  wrongToken: (door) => hold(door, upgrade(door, `authorization: Bearer wpj_${randomBytes(32).toString("base64url")}`), 10_000),
  origin: (door) => hold(door, upgrade(door, "Origin: https://evil.test"), 10_000),
  dropped: (door) => hold(door, upgrade(door), Math.floor(door.random() * 50)),
  frames: (door) => hold(door, upgrade(door) + frames(), 10_000),
  noKey: (door) => send(door, { path: pick(door, PATHS), body: once("1 MiB", () => "x".repeat(MIB)) }),
  wrongKey: (door) => send(door, { method: "GET", path: "/v1/models", headers: { authorization: `Bearer wp_dev_1_${"a".repeat(32)}` } }),
  health: (door) => send(door, { method: "GET", path: "/healthz", headers: { "cache-control": "no-cache" } }),
  metrics: (door) => send(door, { method: "GET", path: "/metrics", headers: { "x-forwarded-for": "192.0.2.1" } }),
  results: (door) => send(door, { method: "PUT", path: `/internal/results/resp_${randomBytes(16).toString("hex")}`, body: "{}" }),
};

export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
