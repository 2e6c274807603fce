/** An honest sender's stream with its checks, tokens and keys, but KV of 0xff: what a peer whose engine overflowed, or who lies, would send. */
import { sha256 } from "../../gpu-backend/transfer/digest.ts";
import { FrameReader, FrameWriter } from "../../src/wire/kv.ts";
import { streamContext } from "../../src/wire/kv-ask.ts";

const MOST_FRAME_BYTES = 64 * 1024 * 1024;

export function poisonedStream(honest: Uint8Array, ticket: string, trial: string): Buffer {
  const context = streamContext(ticket, Number(trial));
  const { frames } = new FrameReader(sha256, context, MOST_FRAME_BYTES).push(honest);
  const writer = new FrameWriter(sha256, context);
  const bad = frames.map((frame) => ("data" in frame ? { ...frame, data: new Uint8Array(frame.data.length).fill(0xff) } : frame));
  return Buffer.concat(bad.flatMap((frame) => writer.write(frame)));
}
