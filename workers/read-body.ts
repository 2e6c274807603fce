import { steadyNowMs } from "./steady-clock.ts";
import { UnfinishedBodies } from "./unfinished-bodies.ts";

/** A body that is too long is still taken in up to so many times the limit: cut off while it sends, a client sees a reset and no answer. */
const DISCARD_FACTOR = 4;

/** A body comes within 30 s, and longer by what it has brought: a second for each 16 KiB. */
const PATIENCE_MS = 30_000;
const BYTES_PER_MS = 16.384;

/** Of this isolate: eight of the longest bodies, half of what an isolate may use on Cloudflare. */
const unfinished = new UnfinishedBodies(64 * 1024 * 1024, 64 * 1024);

/** gone: the client has left. */
type Outcome = "all" | "enough" | "late" | "gone";

/** Reads on, and gives up when the rest is late, or has to give way. */
async function partsOf(body: ReadableStream<Uint8Array>, take: (part: Uint8Array) => boolean, givenWay: Promise<"late">): Promise<Outcome> {
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  const startedAtMs = steadyNowMs();
  let bytes = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => {
    const look = (): void => {
      const leftMs = startedAtMs + PATIENCE_MS + bytes / BYTES_PER_MS - steadyNowMs();
      if (leftMs <= 0) resolve("late");
      else timer = setTimeout(look, leftMs);
    };
    look();
  });
  try {
    for (;;) {
      const read = await Promise.race([reader.read().catch(() => "gone" as const), late, givenWay]);
      if (typeof read === "string") return read;
      if (read.done) return "all";
      bytes += read.value.byteLength;
      if (!take(read.value)) return "enough";
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The whole body; "late" when the rest does not come, "gone" when its client goes; null when it is longer than `limit` bytes. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array | "late" | "gone" | null> {
  if (request.body === null) return new Uint8Array();
  const declared = Number(request.headers.get("content-length") ?? Number.NaN);
  // A body that is too long is still taken in: cut off while it sends, a client sees a reset and no answer.
  const most = (declared > limit ? DISCARD_FACTOR : 1 + DISCARD_FACTOR) * limit;
  const parts: Uint8Array[] = [];
  let length = 0;
  const { promise: givenWay, resolve: giveWay } = Promise.withResolvers<"late">();
  const held = unfinished.begin(() => giveWay("late"));
  const take = (part: Uint8Array): boolean => {
    length += part.byteLength;
    if (length <= limit && !(declared > limit)) {
      parts.push(part);
      unfinished.grow(held, part.byteLength);
    } else {
      parts.length = 0;
      unfinished.end(held);
    }
    return length <= most;
  };
  const outcome = await partsOf(request.body, take, givenWay).finally(() => unfinished.end(held));
  if (outcome === "late") return "late";
  if (length > limit || declared > limit) return null;
  if (outcome === "gone") return "gone";
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, length);
}
