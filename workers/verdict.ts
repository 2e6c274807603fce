/** What a replica's answer is: its status, at once or after its word that the request is there, and its bytes. */
import { HEADER } from "../src/wire/headers.ts";
import { MOST_VERDICT_BYTES, parseVerdict, VERDICT_FOLLOWS } from "../src/wire/verdict.ts";
import { TICK_MS, type Ticker } from "./ticker.ts";
import { SILENCE_MS } from "../src/limits.ts";

/** Longer than anything that it does before its engine has the request. */
const MOST_VERDICT_MS = 30_000;
const NEWLINE = 0x0a;

export interface ReplicaAnswerBody {
  status: number;
  contentType: string;
  /** Of the body, bytes, where the replica said it and nothing unpacks it. */
  length: number | null;
  /** What came with the verdict; the rest of the body follows it. */
  head: Uint8Array;
  body: ReadableStream<Uint8Array> | null;
}

const NOTHING = new Uint8Array();

function lengthOf(headers: Headers): number | null {
  const said = headers.get("content-length");
  return said !== null && /^\d{1,12}$/.test(said) && !headers.has("content-encoding") ? Number(said) : null;
}

/** Null: the replica was lost before it said what comes of the request. `cancel` ends the reading. */
export async function verdictOf(response: Response, ticker: Ticker, cancel: () => void): Promise<ReplicaAnswerBody | null> {
  const { status, headers, body } = response;
  const contentType = headers.get("content-type") ?? "application/json";
  if (headers.get(HEADER.verdict) !== VERDICT_FOLLOWS) return { status, contentType, length: lengthOf(headers), head: NOTHING, body };
  if (body === null) return null;
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  let [waitedMs, silentMs] = [0, 0];
  const stop = ticker.each(() => {
    waitedMs += TICK_MS;
    silentMs += TICK_MS;
    if (silentMs >= SILENCE_MS || waitedMs >= MOST_VERDICT_MS) cancel();
  });
  try {
    const line = await readLine(reader, () => (silentMs = 0));
    const verdict = line === null ? null : parseVerdict(line.text);
    if (line === null || verdict === null) {
      cancel();
      return null;
    }
    reader.releaseLock();
    return { ...verdict, length: null, head: line.rest, body };
  } catch {
    // Cut, or canceled.
    return null;
  } finally {
    stop();
  }
}

/** The first line that is more than white space, and what was read beyond it. */
async function readLine(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  heard: () => void,
): Promise<{ text: string; rest: Uint8Array } | null> {
  let read = Buffer.alloc(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return null;
    heard();
    read = Buffer.concat([read, value]);
    while (read[0] === NEWLINE) read = read.subarray(1);
    const end = read.indexOf(NEWLINE);
    if (end >= 0) return { text: read.toString("utf8", 0, end), rest: read.subarray(end + 1) };
    if (read.byteLength > MOST_VERDICT_BYTES) return null;
  }
}
