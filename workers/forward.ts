/**
 * Bytes from a replica to a client. Until the first content event the edge reads along, so that a lost replica can be replaced without
 * the client noticing; from then on the platform moves the bytes and no JavaScript runs per token.
 */
import type { Placed } from "./place.ts";

/** A replica that says nothing at all for so long is lost. It sends a comment or white space every second while it computes a prompt. */
const SILENCE_MS = 10_000;
/** How often a client that waits for its first token gets a comment, which is also how the edge learns that it has gone. */
const PING_MS = 1_000;
/** How often a running stream's lease is looked at: a frozen replica closes no socket. */
const LEASE_CHECK_MS = 10_000;
const PING = new TextEncoder().encode(": ping\n\n");
const COLON_DATA = new TextEncoder().encode("data:");

export type Forwarded = { type: "done" } | { type: "client_gone" } | { type: "cut"; contentSent: boolean };

function hasContent(chunk: Uint8Array): boolean {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).includes(COLON_DATA);
}

const timeout = <T>(ms: number, value: T): { promise: Promise<T>; clear: () => void } => {
  let timer: ReturnType<typeof setTimeout>;
  const promise = new Promise<T>((resolve) => (timer = setTimeout(resolve, ms, value)));
  return { promise, clear: () => clearTimeout(timer) };
};

type Read = ReadableStreamReadResult<Uint8Array> | "lost";

/** Passes comments on until the first `data:` line has gone out. */
async function forwardUntilContent(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
): Promise<Forwarded | "content"> {
  let silentMs = 0;
  let pending: Promise<Read> | null = null;
  for (;;) {
    pending ??= reader.read().catch((): Read => "lost");
    const ping = timeout(PING_MS, "ping" as const);
    const read: Read | "ping" = await Promise.race([pending, ping.promise]);
    ping.clear();
    if (read === "ping") {
      silentMs += PING_MS;
      if (silentMs >= SILENCE_MS) return { type: "cut", contentSent: false };
      const alive = await writer.write(PING).then(
        () => true,
        () => false,
      );
      if (!alive) return { type: "client_gone" };
      continue;
    }
    pending = null;
    silentMs = 0;
    if (read === "lost" || read.done) return { type: "cut", contentSent: false };
    try {
      await writer.write(read.value);
    } catch {
      return { type: "client_gone" };
    }
    if (hasContent(read.value)) return "content";
  }
}

export interface ForwardHooks {
  /** The first content has gone out. */
  begun: () => void;
  /** Asked now and then: whether the pool still hears of the request. */
  leaseAlive: () => Promise<boolean>;
}

/** Streams `placed` into `writable` and leaves it open. */
export async function forwardStream(
  placed: Placed,
  writable: WritableStream<Uint8Array>,
  { begun, leaseAlive }: ForwardHooks,
): Promise<Forwarded> {
  const body = placed.response.body;
  if (body === null) return { type: "cut", contentSent: false };
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  const writer = writable.getWriter();
  const outcome = await forwardUntilContent(reader, writer);
  writer.releaseLock();
  if (outcome !== "content") {
    placed.cancel();
    return outcome;
  }
  begun();
  reader.releaseLock();
  const check = setInterval(() => {
    leaseAlive().then(
      (alive) => {
        if (!alive) placed.cancel();
      },
      () => undefined,
    );
  }, LEASE_CHECK_MS);
  try {
    await body.pipeTo(writable, { preventAbort: true, preventClose: true });
    return { type: "done" };
  } catch {
    placed.cancel();
    return { type: "cut", contentSent: true };
  } finally {
    clearInterval(check);
  }
}

/** A unary answer in whole, or null when its replica was lost on the way. */
export async function readWhole(placed: Placed, limit: number): Promise<Uint8Array | null> {
  const body = placed.response.body;
  if (body === null) return new Uint8Array();
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const silence = timeout<Read>(SILENCE_MS, "lost");
    const read = await Promise.race([reader.read().catch((): Read => "lost"), silence.promise]);
    silence.clear();
    if (read === "lost") {
      placed.cancel();
      return null;
    }
    if (read.done) break;
    length += read.value.byteLength;
    if (length > limit) {
      placed.cancel();
      return null;
    }
    parts.push(read.value);
  }
  const only = parts[0];
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}
