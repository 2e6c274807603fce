/** Senders on loopback and the receiver's side of a transfer, for tests. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Dispatcher } from "undici";
import { fetchPrefill, type Fetched, pullBlocks } from "../../gpu-backend/transfer/fetch.ts";
import type { Expectation } from "../../gpu-backend/transfer/transfer-deadline.ts";
import type { BlockSource } from "../../gpu-backend/transfer/block-source.ts";
import { Sender, type SenderExchange, type SendStep } from "../../gpu-backend/transfer/send.ts";
import type { SenderLimits } from "../../gpu-backend/transfer/sender-limits.ts";
import { TicketGate } from "../../gpu-backend/transfer/ticket-gate.ts";
import { encodeTicket, type Ticket } from "../../src/wire/ticket.ts";
import { FakeEngine, fakeRequest } from "./transfer-engine.ts";

export const key = Buffer.from("a key of thirty-two bytes, fixed");

let serial = 0;

export function ticketFor(changes: Partial<Ticket> = {}, by = key): string {
  const ticket = {
    id: `req_${++serial}`,
    attempt: 1,
    kind: "prefill" as const,
    salt: "s",
    from: "http://127.0.0.1:9000",
    expiresAtMs: Date.now() + 5_000,
    chainTip: "ff",
    digest: "",
    ...changes,
  };
  return encodeTicket(ticket, (text) => createHmac("sha256", by).update(text).digest("base64url"));
}

/** `exchange`: null for an engine whose blocks do not leave it. */
export function makeSender(
  exchange: SenderExchange | null,
  source: BlockSource | null = null,
  limits: Partial<SenderLimits> = {},
  watch: (step: SendStep) => void = () => undefined,
): Sender {
  const gate = new TicketGate();
  gate.welcome(key.toString("base64url"), Date.now(), Date.now());
  const request = (_ask: unknown, body: Uint8Array) => Promise.resolve(fakeRequest(Buffer.from(body).toString()));
  return new Sender({ exchange, contextTokens: 100_000, gate, source, request, limits, watch });
}

export interface Serving {
  url: string;
  sockets: Set<Socket>;
  close(): Promise<void>;
}

export async function serve(listener: RequestListener): Promise<Serving> {
  const server = createServer(listener);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, close };
}

export function serveSender(sender: Sender): Promise<Serving> {
  return serve((request, response) => {
    response.on("error", () => undefined);
    sender.handle(request, response).then(
      (ours) => ours || response.writeHead(404).end(),
      () => response.destroy(),
    );
  });
}

export interface Ask {
  url: string;
  prompt: string;
  dispatcher: Dispatcher;
  engine?: FakeEngine;
  ticket?: string;
  have?: number;
  signal?: AbortSignal;
  expected?: Expectation;
  stallMs?: number;
}

/** A slow engine of its own, so that no test's machine is too slow. */
const EXPECTED: Expectation = { msPerToken: 10, measured: true };

export function fetchFor({
  url,
  prompt,
  dispatcher,
  engine = new FakeEngine(),
  ticket = ticketFor(),
  have = 0,
  ...rest
}: Ask): Promise<Fetched> {
  const { signal = new AbortController().signal, expected = EXPECTED, stallMs = 2_000 } = rest;
  const prepared = engine.prepareNow(fakeRequest(prompt));
  const link = { url, ticket, card: engine.card, prepared, signal, expected, stallMs, dispatcher };
  return fetchPrefill({ ...link, have, api: "chat", historyBytes: 0, body: Buffer.from(prompt) });
}

export function pullFor(
  { url, prompt, dispatcher, engine = new FakeEngine(), ticket = ticketFor({ kind: "pull" }), ...rest }: Ask,
  from: number,
  to: number,
) {
  const { signal = new AbortController().signal, expected = EXPECTED, stallMs = 2_000 } = rest;
  const prepared = engine.prepareNow(fakeRequest(prompt));
  return pullBlocks({ url, ticket, card: engine.card, prepared, signal, expected, stallMs, dispatcher, from, to });
}

export const prose = (tokens: number, seed = "a"): string =>
  Array.from({ length: tokens }, (_, i) => String.fromCharCode(97 + ((i * 7 + seed.charCodeAt(0) + (i >> 4)) % 26))).join("");

/** What the decode replica's client gets: with what came, or computed there. */
export function answerWith(prompt: string, fetched: Fetched): number[] {
  return new FakeEngine().answer(fakeRequest(prompt), fetched.ok ? fetched.restore : null);
}

export async function until(condition: () => boolean, ms = 3_000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
