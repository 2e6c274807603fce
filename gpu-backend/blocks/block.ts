/**
 * The envelope a block rests and travels in. All integers little-endian:
 *
 *   offset  bytes  field
 *        0      4  magic "WPKV"
 *        4      4  version, 1
 *        8     32  kvSpace: whose engine, weights and layout the data fit
 *       40     32  key of the block
 *       72     32  key of the block before it in its chain, zeros for the first
 *      104      4  n, token count
 *      108      4  m, data length, always n * kvTokenBytes
 *      112     4n  token ids
 *   112+4n      m  keys and values, opaque
 * 112+4n+m     32  SHA-256 of everything before
 *
 * llama.cpp trusts what it loads: other weights load silently, one flipped length allocates without limit. So
 * nothing is read here before the length it needs was checked, and no byte leaves before the checksum was. The checksum finds
 * damage, not malice: whoever can write a tier can write a valid block. Therefore tokens and numbers are checked besides.
 */
import { createHash } from "node:crypto";
import type { EngineKey, KeyedBlock } from "../engine/engine.ts";
import { isFiniteKv, type KvNumbers } from "../engine/kv-numbers.ts";

const MAGIC = 0x564b5057;
const VERSION = 1;
const AT = { magic: 0, version: 4, kvSpace: 8, key: 40, parent: 72, tokenCount: 104, dataLength: 108, tokens: 112 } as const;
const HASH_BYTES = 32;
/** No engine has blocks near this; a count above it is damage. */
const MAX_TOKENS = 1 << 16;

export const HEADER_BYTES = AT.tokens;

export interface SealedBlock {
  key: EngineKey;
  /** Key of the block before it in its chain; null for the first. Children leave before their parents. */
  parent: EngineKey | null;
  /** The envelope. */
  bytes: Uint8Array;
}

/**
 * Why bytes were not opened.
 * not_a_file: of a disk, something else than a file has the block's name: a link, a folder, a FIFO, a socket, a device · length: shorter or longer than their own header says · size: a count or length that no block of this engine has · kv_space: of another engine, weights or layout ·
 * key: another block than the one asked for · tokens: not the prompt's · not_finite: a number that would make answers garbage.
 */
export const BLOCK_FAULTS = [
  "not_a_file",
  "length",
  "magic",
  "version",
  "size",
  "kv_space",
  "key",
  "checksum",
  "tokens",
  "not_finite",
] as const;
export type BlockFault = (typeof BLOCK_FAULTS)[number];

export interface BlockHeader {
  kvSpace: string;
  key: EngineKey;
  parent: EngineKey | null;
  tokenCount: number;
  /** What the whole envelope must be long. */
  totalBytes: number;
}

interface BlockExpectation {
  key: EngineKey;
  kvSpace: string;
  kvTokenBytes: number;
  kvNumbers: readonly KvNumbers[];
  /** The tokens the block must hold, when they are known. */
  tokens?: Uint32Array;
}

type OpenedBlock = { ok: true; block: KeyedBlock; parent: EngineKey | null } | { ok: false; why: BlockFault };

export function isEngineKey(text: string): text is EngineKey {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Bytes of the envelope of a block with this number of tokens. */
export function sealedBytes(tokens: number, kvTokenBytes: number): number {
  return AT.tokens + tokens * (4 + kvTokenBytes) + HASH_BYTES;
}

/** Throws on a block that contradicts itself: that is a fault of the caller, not of a tier. */
export function sealBlock(block: KeyedBlock, envelope: { parent: EngineKey | null; kvSpace: string; kvTokenBytes: number }): SealedBlock {
  const { key, tokens, data } = block;
  const { parent, kvSpace, kvTokenBytes } = envelope;
  for (const hash of [key, kvSpace, parent ?? key]) if (!isEngineKey(hash)) throw new TypeError(`not a hex SHA-256: ${hash}`);
  if (tokens.length === 0 || tokens.length > MAX_TOKENS) throw new RangeError(`a block of ${tokens.length} tokens`);
  if (data.length !== tokens.length * kvTokenBytes)
    throw new RangeError(`${data.length} bytes for ${tokens.length} tokens of ${kvTokenBytes}`);
  const bytes = Buffer.allocUnsafeSlow(sealedBytes(tokens.length, kvTokenBytes));
  bytes.writeUInt32LE(MAGIC, AT.magic);
  bytes.writeUInt32LE(VERSION, AT.version);
  bytes.write(kvSpace, AT.kvSpace, "hex");
  bytes.write(key, AT.key, "hex");
  if (parent === null) bytes.fill(0, AT.parent, AT.tokenCount);
  else bytes.write(parent, AT.parent, "hex");
  bytes.writeUInt32LE(tokens.length, AT.tokenCount);
  bytes.writeUInt32LE(data.length, AT.dataLength);
  for (const [index, token] of tokens.entries()) bytes.writeUInt32LE(token, AT.tokens + 4 * index);
  bytes.set(data, AT.tokens + 4 * tokens.length);
  const end = bytes.length - HASH_BYTES;
  bytes.set(checksum(bytes.subarray(0, end)), end);
  return { key, parent, bytes: plainView(bytes) };
}

/**
 * Reads the fixed part, from the whole envelope or its first HEADER_BYTES. What it says is only a claim: `totalBytes` is bounded and
 * consistent, the rest is for openBlock to check.
 */
export function readHeader(bytes: Uint8Array): { ok: true; header: BlockHeader } | { ok: false; why: BlockFault } {
  if (bytes.length < HEADER_BYTES) return { ok: false, why: "length" };
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  if (header.readUInt32LE(AT.magic) !== MAGIC) return { ok: false, why: "magic" };
  if (header.readUInt32LE(AT.version) !== VERSION) return { ok: false, why: "version" };
  const tokenCount = header.readUInt32LE(AT.tokenCount);
  const dataLength = header.readUInt32LE(AT.dataLength);
  if (tokenCount === 0 || tokenCount > MAX_TOKENS || dataLength % tokenCount !== 0) return { ok: false, why: "size" };
  const parent = header.toString("hex", AT.parent, AT.tokenCount);
  return {
    ok: true,
    header: {
      kvSpace: header.toString("hex", AT.kvSpace, AT.key),
      key: header.toString("hex", AT.key, AT.parent) as EngineKey,
      parent: /^0+$/.test(parent) ? null : (parent as EngineKey),
      tokenCount,
      totalBytes: sealedBytes(tokenCount, dataLength / tokenCount),
    },
  };
}

/** The block's data is a view of `bytes`, not a copy: read it, don't transfer it. */
export function openBlock(bytes: Uint8Array, expected: BlockExpectation): OpenedBlock {
  const read = readHeader(bytes);
  if (!read.ok) return read;
  const { kvSpace, key, parent, tokenCount, totalBytes } = read.header;
  if (kvSpace !== expected.kvSpace) return { ok: false, why: "kv_space" };
  if (key !== expected.key) return { ok: false, why: "key" };
  if (totalBytes !== sealedBytes(tokenCount, expected.kvTokenBytes)) return { ok: false, why: "size" };
  if (bytes.length !== totalBytes) return { ok: false, why: "length" };
  const end = totalBytes - HASH_BYTES;
  if (!checksum(bytes.subarray(0, end)).equals(bytes.subarray(end))) return { ok: false, why: "checksum" };
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const tokens = Uint32Array.from({ length: tokenCount }, (_, index) => view.getUint32(AT.tokens + 4 * index, true));
  if (expected.tokens !== undefined && !sameTokens(tokens, expected.tokens)) return { ok: false, why: "tokens" };
  const data = bytes.subarray(AT.tokens + 4 * tokenCount, end);
  if (!isFiniteKv(data, tokenCount, expected.kvNumbers)) return { ok: false, why: "not_finite" };
  return { ok: true, block: { key, tokens, data }, parent };
}

/** What a tier can say itself: whether the bytes have a header, are as long as it says, and are this key's. */
export function inspectHeader(bytes: Uint8Array, key: EngineKey): { parent: EngineKey | null } | { fault: BlockFault } {
  const read = readHeader(bytes);
  if (!read.ok) return { fault: read.why };
  if (read.header.key !== key) return { fault: "key" };
  return read.header.totalBytes === bytes.length ? { parent: read.header.parent } : { fault: "length" };
}

function sameTokens(one: Uint32Array, other: Uint32Array): boolean {
  return one.length === other.length && one.every((token, index) => token === other[index]);
}

function checksum(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** Not a Buffer: its slice() would share where Uint8Array's copies. */
function plainView(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
