/** A body that is too long is still taken in up to so many times the limit: cut off while it sends, a client sees a reset and no answer. */
const DISCARD_FACTOR = 4;

async function discard(body: ReadableStream<Uint8Array>, limit: number): Promise<void> {
  let left = DISCARD_FACTOR * limit;
  try {
    for await (const part of body) {
      left -= part.byteLength;
      if (left < 0) return;
    }
  } catch {
    // The client has gone, and wants no answer.
  }
}

/** The whole body, or null when it is longer than `limit` bytes. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array | null> {
  const declared = Number(request.headers.get("content-length") ?? Number.NaN);
  if (request.body === null) return new Uint8Array();
  if (declared > limit) {
    await discard(request.body, limit);
    return null;
  }
  if (!Number.isNaN(declared)) return new Uint8Array(await request.arrayBuffer());
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request.body) {
    length += part.byteLength;
    if (length > (1 + DISCARD_FACTOR) * limit) return null;
    if (length <= limit) parts.push(part);
    else parts.length = 0;
  }
  if (length > limit) return null;
  const body = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.byteLength;
  }
  return body;
}
