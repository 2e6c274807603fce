/** The messages on vLLM's two event sockets: live batches (SUB) and batches sent again (DEALER). */

export type EventMessage =
  | { type: "batch"; seq: number; payload: Uint8Array }
  /** Nothing more is sent again. */
  | { type: "end" }
  | { type: "malformed"; message: string };

/** What a replay ends with, where its sequence number would be. */
const END = 2n ** 64n - 1n;

/**
 * Live: [topic, seq, payload]. Sent again: ["", topic, seq, payload], in earlier versions ["", seq, payload], at the end [… "", END, ""].
 * Sequence numbers are 8 bytes, big-endian, from 0 in each process.
 */
export function readMessage(frames: readonly Uint8Array[]): EventMessage {
  const [seq, payload] = frames.slice(-2);
  if (frames.length < 2 || frames.length > 4 || seq === undefined || payload === undefined) {
    return { type: "malformed", message: "a message has 2 to 4 frames" };
  }
  if (seq.length !== 8) return { type: "malformed", message: "a sequence number has 8 bytes" };
  const number = new DataView(seq.buffer, seq.byteOffset, 8).getBigUint64(0);
  if (number === END) return { type: "end" };
  if (number > BigInt(Number.MAX_SAFE_INTEGER)) return { type: "malformed", message: "the sequence number is too large" };
  return { type: "batch", seq: Number(number), payload };
}

/** Asks for all batches from this one on. */
export function replayRequest(from: number): [Uint8Array, Uint8Array] {
  const seq = new Uint8Array(8);
  new DataView(seq.buffer).setBigUint64(0, BigInt(from));
  return [new Uint8Array(), seq];
}
