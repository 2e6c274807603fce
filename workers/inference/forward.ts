/**
 * Bytes from a replica to a client. Until the first content event the edge reads along, so that a lost replica can be replaced without
 * the client noticing; from then on the platform moves the bytes and no JavaScript runs per token.
 */
import { LEAST_BODY_BYTES_PER_MS, type Placed } from "./place.ts";
import { TICK_MS, type Ticker } from "../ticker.ts";
import { SILENCE_MS } from "../../src/limits.ts";

/** After so many a running stream's lease is looked at again: a frozen replica closes no socket. */
const LEASE_CHECK_TICKS = 10;
/** At every tick to a client that waits for its first token, which is also how the edge learns that it has gone. */
const PING = new TextEncoder().encode(": ping\n\n");
const COLON_DATA = new TextEncoder().encode("data:");

type Forwarded = { type: "done" } | { type: "client_gone" } | { type: "cut"; contentSent: boolean };

function hasContent(chunk: Uint8Array): boolean {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).includes(COLON_DATA);
}

/** Passes comments on until the first `data:` line has gone out. */
async function forwardUntilContent(
  placed: Placed,
  ticker: Ticker,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
): Promise<Forwarded | { type: "content"; first: Uint8Array }> {
  let { head } = placed.answer;
  let silentMs = 0;
  let reading = false;
  let clientGone = false;
  const stop = ticker.each(() => {
    // A client that takes its time is no silence of the replica.
    if (!reading) return;
    silentMs += TICK_MS;
    if (silentMs >= SILENCE_MS) return placed.cancel();
    writer.write(PING).catch(() => {
      clientGone = true;
      placed.cancel();
    });
  });
  try {
    for (;;) {
      reading = true;
      // Canceled, it rejects.
      const read = head.byteLength > 0 ? { done: false as const, value: head } : await reader.read().catch(() => null);
      head = new Uint8Array();
      reading = false;
      if (clientGone) return { type: "client_gone" };
      if (read === null || read.done) return { type: "cut", contentSent: false };
      silentMs = 0;
      try {
        await writer.write(read.value);
      } catch {
        return { type: "client_gone" };
      }
      if (hasContent(read.value)) return { type: "content", first: read.value };
    }
  } finally {
    stop();
  }
}

interface ForwardHooks {
  /** The first content has gone out, in these bytes. */
  begun: (first: Uint8Array) => void;
  /** Asked now and then: whether the pool still hears of the request. */
  leaseAlive: () => Promise<boolean>;
}

/** Streams `placed` into `writable` and leaves it open. */
export async function forwardStream(
  placed: Placed,
  ticker: Ticker,
  writable: WritableStream<Uint8Array>,
  { begun, leaseAlive }: ForwardHooks,
): Promise<Forwarded> {
  const { body } = placed.answer;
  if (body === null) return { type: "cut", contentSent: false };
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  const writer = writable.getWriter();
  const outcome = await forwardUntilContent(placed, ticker, reader, writer);
  writer.releaseLock();
  if (outcome.type !== "content") {
    placed.cancel();
    return outcome;
  }
  begun(outcome.first);
  reader.releaseLock();
  let ticks = 0;
  const stop = ticker.each(() => {
    if (++ticks % LEASE_CHECK_TICKS !== 0) return;
    leaseAlive().then(
      (alive) => {
        if (!alive) placed.cancel();
      },
      () => undefined,
    );
  });
  try {
    await body.pipeTo(writable, { preventAbort: true, preventClose: true });
    return { type: "done" };
  } catch {
    placed.cancel();
    return { type: "cut", contentSent: true };
  } finally {
    stop();
  }
}

/** By the platform in one go, which shows no silence: so it has the time that a body of its length may take. `length`: null for more than is read. */
async function readKnown(
  placed: Placed,
  ticker: Ticker,
  body: ReadableStream<Uint8Array>,
  length: number | null,
): Promise<Uint8Array | null> {
  if (length === null) {
    placed.cancel();
    return null;
  }
  const stop = ticker.after(SILENCE_MS + length / LEAST_BODY_BYTES_PER_MS, () => placed.cancel());
  try {
    return new Uint8Array(await new Response(body).arrayBuffer());
  } catch {
    // Cut, or canceled.
    return null;
  } finally {
    stop();
  }
}

/** A unary answer in whole, or null when its replica was lost on the way. */
export async function readWhole(placed: Placed, ticker: Ticker, limit: number): Promise<Uint8Array | null> {
  const { head, body, length } = placed.answer;
  if (body === null) return head;
  if (length !== null) return readKnown(placed, ticker, body, length > limit ? null : length);
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  const parts: Uint8Array[] = head.byteLength > 0 ? [head] : [];
  let bytes = head.byteLength;
  let silentMs = 0;
  const stop = ticker.each(() => {
    silentMs += TICK_MS;
    if (silentMs >= SILENCE_MS) placed.cancel();
  });
  try {
    for (;;) {
      // Canceled, it rejects.
      const read = await reader.read().catch(() => null);
      if (read === null) return null;
      if (read.done) break;
      silentMs = 0;
      bytes += read.value.byteLength;
      if (bytes > limit) {
        placed.cancel();
        return null;
      }
      parts.push(read.value);
    }
  } finally {
    stop();
  }
  const only = parts[0];
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}
