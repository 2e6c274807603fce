/**
 * Residency frames, little-endian: 16 bytes of head, then 16 bytes an entry.
 *   head:  u8 kind (1 delta, 2 full) · u8 first · u8 last · u8 0 · u32 seq · u32 count · u32 0
 *   entry: u32 hash low · u32 hash high · u32 tokens up to the segment's end · u32 tier bits (0: no longer held)
 * A delta's seq is one more than that of the frame before. A full resync is one or more frames of kind 2 with the same seq,
 * the first and the last marked; entries not named in it are no longer held.
 */
import type { ResidencyEntry, ResidencyFrame } from "../pool/frames.ts";
import { ALL_TIERS } from "../residency/tiers.ts";

const HEAD_BYTES = 16;
const ENTRY_BYTES = 16;
/** Keeps a frame near 64 KiB, far below the platform's bound on a message. */
export const MAX_FRAME_ENTRIES = 4096;

export function encodeResidencyFrame(frame: ResidencyFrame): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEAD_BYTES + frame.entries.length * ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, frame.kind === "delta" ? 1 : 2);
  view.setUint8(1, frame.first ? 1 : 0);
  view.setUint8(2, frame.last ? 1 : 0);
  view.setUint32(4, frame.seq, true);
  view.setUint32(8, frame.entries.length, true);
  let at = HEAD_BYTES;
  for (const { hash, tokens, tierBits } of frame.entries) {
    view.setBigUint64(at, hash, true);
    view.setUint32(at + 8, tokens, true);
    view.setUint32(at + 12, tierBits, true);
    at += ENTRY_BYTES;
  }
  return bytes;
}

/** Null for anything that is not exactly one frame. */
export function decodeResidencyFrame(buffer: ArrayBuffer): ResidencyFrame | null {
  if (buffer.byteLength < HEAD_BYTES) return null;
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  const count = view.getUint32(8, true);
  if ((kind !== 1 && kind !== 2) || count > MAX_FRAME_ENTRIES || buffer.byteLength !== HEAD_BYTES + count * ENTRY_BYTES) return null;
  const entries: ResidencyEntry[] = [];
  for (let at = HEAD_BYTES; at < buffer.byteLength; at += ENTRY_BYTES) {
    const tierBits = view.getUint32(at + 12, true);
    const hash = view.getBigUint64(at, true);
    if (tierBits > ALL_TIERS || hash === 0n) return null;
    entries.push({ hash, tokens: view.getUint32(at + 8, true), tierBits });
  }
  return {
    kind: kind === 1 ? "delta" : "full",
    first: view.getUint8(1) === 1,
    last: view.getUint8(2) === 1,
    seq: view.getUint32(4, true),
    entries,
  };
}
