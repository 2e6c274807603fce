/** Server-sent events of a streamed answer: the data of each. */

/** An event with logprobs of one token is a few kB. */
const MAX_LINE_BYTES = 1024 * 1024;

/** `too-long`: a line that no server sends; nothing is read behind it. */
export type StreamItem = { type: "data"; data: string } | { type: "too-long" };

/** Events of one line each, as all of these servers send them. Comments and other fields are skipped. Rejects as `chunks` does. */
export async function* eventStream(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<StreamItem> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
      const line = Buffer.concat([rest, chunk.subarray(from, end)]);
      rest = Buffer.alloc(0);
      from = end + 1;
      if (line.length > MAX_LINE_BYTES) return yield { type: "too-long" };
      const data = dataOf(line.toString());
      if (data !== null) yield { type: "data", data };
    }
    if (from < chunk.length) rest = Buffer.concat([rest, chunk.subarray(from)]);
    if (rest.length > MAX_LINE_BYTES) return yield { type: "too-long" };
  }
  // A last line without its end is not whole.
}

function dataOf(line: string): string | null {
  const found = /^data: ?(.*?)\r?$/s.exec(line);
  return found?.[1] ?? null;
}
