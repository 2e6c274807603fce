import { steadyNowMs } from "./steady-clock.ts";

/** A body that is too long is still taken in up to so many times the limit: cut off while it sends, a client sees a reset and no answer. */
const DISCARD_FACTOR = 4;

/** A body comes within 30 s, and longer by what it has brought: a second for each 16 KiB. */
const PATIENCE_MS = 30_000;
const BYTES_PER_MS = 16.384;

/** Reads on, and gives up when the rest is late. */
async function partsOf(body: ReadableStream<Uint8Array>, take: (part: Uint8Array) => boolean): Promise<"all" | "enough" | "late"> {
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
      const read = await Promise.race([reader.read(), late]);
      if (read === "late") return read;
      if (read.done) return "all";
      bytes += read.value.byteLength;
      if (!take(read.value)) return "enough";
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The whole body; "late" when the rest does not come; null when it is longer than `limit` bytes. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array | "late" | null> {
  if (request.body === null) return new Uint8Array();
  const declared = Number(request.headers.get("content-length") ?? Number.NaN);
  // A body that is too long is still taken in: cut off while it sends, a client sees a reset and no answer.
  const most = (declared > limit ? DISCARD_FACTOR : 1 + DISCARD_FACTOR) * limit;
  const parts: Uint8Array[] = [];
  let length = 0;
  const outcome = await partsOf(request.body, (part) => {
    length += part.byteLength;
    if (length <= limit && !(declared > limit)) parts.push(part);
    else parts.length = 0;
    return length <= most;
  }).catch((error: unknown) => {
    if (length > limit || declared > limit) return "enough" as const;
    throw error;
  });
  if (outcome === "late") return "late";
  if (length > limit || declared > limit) return null;
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, length);
}
