import { steadyNowMs } from "./steady-clock.ts";
import { UnfinishedBodies } from "./unfinished-bodies.ts";

/** A body that is too long is still taken in up to so many times the limit: cut off while it sends, a client sees a reset and no answer. */
const DISCARD_FACTOR = 4;

/** A body comes within 30 s, and longer by what it has brought: a second for each 16 KiB. */
const PATIENCE_MS = 30_000;
const BYTES_PER_MS = 16.384;

/** Of this isolate: eight of the longest bodies, half of what an isolate may use on Cloudflare. */
const unfinished = new UnfinishedBodies(64 * 1024 * 1024, 64 * 1024);

/**
 * Bytes that one read may bring. The platform's default reader brings 4 KiB at a time: 8 MiB are 2,049 reads and 70 ms of CPU on the thread that
 * serves everybody, and with these views 141 reads and 15 ms. A view grows only behind bytes that came: whoever brings nothing holds the first one.
 */
const FIRST_VIEW_BYTES = 4_096;
const MOST_VIEW_BYTES = 65_536;
const VIEW_GROWTH = 4;

/** gone: the client has left. */
type Outcome = "all" | "enough" | "late" | "gone";

/** What the next read may fill: as large as the last view, or larger when that was filled. The last one's memory is used again. */
function viewAfter(last: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const size = last.buffer.byteLength;
  const isFilled = last.byteLength === size && size < MOST_VIEW_BYTES;
  return isFilled ? new Uint8Array(Math.min(MOST_VIEW_BYTES, size * VIEW_GROWTH)) : new Uint8Array(last.buffer);
}

/** Reads on, and gives up when the rest is late, or has to give way. What `take` gets is overwritten after it. */
async function partsOf(body: ReadableStream<Uint8Array>, take: (part: Uint8Array) => boolean, givenWay: Promise<"late">): Promise<Outcome> {
  const reader = body.getReader({ mode: "byob" });
  let view = new Uint8Array(FIRST_VIEW_BYTES);
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
      const read = await Promise.race([reader.read(view).catch(() => "gone" as const), late, givenWay]);
      if (typeof read === "string") return read;
      if (read.done) return "all";
      bytes += read.value.byteLength;
      if (!take(read.value)) return "enough";
      view = viewAfter(read.value as Uint8Array<ArrayBuffer>);
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
      parts.push(part.slice());
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
