/**
 * vLLM's KV events (vllm/distributed/kv_events.py): which blocks entered or left which tier. Two encodings are read, also mixed in one
 * batch: maps, as vLLM packs them since 0.24, and the positional arrays of earlier versions and of SGLang.
 *
 * Example, as a map: {type: "BlockStored", block_hashes: [u64, …], parent_block_hash: u64 | nil, token_ids: [id, …], block_size: 16, medium: "GPU", …}
 * and as an array:   ["BlockStored", [u64, …], u64 | nil, [id, …], 16, lora_id, "GPU", …]
 */
import { TIER } from "../../../src/residency/tiers.ts";
import { type Packed, unpack } from "./message-pack.ts";

/** The engine's own name of a block: 16 hex digits. What it hashes, and how, is the engine's setting. */
export type BlockHash = string & { readonly __brand: "BlockHash" };

export interface StoredBlocks {
  type: "stored";
  keys: BlockHash[];
  /** Hash of the block before the first; null: the first begins the prompt, or the engine does not say. */
  parent: BlockHash | null;
  /** Of all blocks, one behind the other. Null: only the keys are named, as by an offload connector that does not describe itself. */
  tokens: Uint32Array | null;
  /** Tokens in one block; null with `tokens` null. */
  blockTokens: number | null;
  /** One of the tier bits. */
  tier: number;
  group: number;
  /** Whether such blocks are a prefix's: those of a sliding window are not, their tokens attend to the last few only. */
  isPrefix: boolean;
  /** The adapter's name; null: the base model. */
  adapter: string | null;
  /** What each block's hash depends on besides tokens (salt, adapter, images), one a block; null: nothing. */
  extraKeys: readonly (readonly string[] | null)[] | null;
}

export interface RemovedBlocks {
  type: "removed";
  keys: BlockHash[];
  tier: number;
  group: number;
}

export type KvEvent = StoredBlocks | RemovedBlocks | { type: "cleared" };

export interface KvBatch {
  /** Seconds, by the engine's wall clock. */
  timestamp: number;
  /** Of the data-parallel engine that sent it. */
  rank: number;
  events: KvEvent[];
  /** Events left out because they make no sense. */
  malformed: number;
  /** Events left out because this version does not know their type or medium. */
  unknown: number;
}

type BatchRead = { ok: true; batch: KvBatch } | { ok: false; message: string };

/** One step of an engine announces a few kB; 8 MiB is a prompt of two million tokens. */
export const MAX_PAYLOAD_BYTES = 8 * 1024 * 1024;

type Fields = (name: string, index: number) => Packed;
type EventRead = KvEvent | "malformed" | "unknown";

/** @param payload the last frame of a message. */
export function readBatch(payload: Uint8Array): BatchRead {
  if (payload.length > MAX_PAYLOAD_BYTES) return { ok: false, message: "it is too long" };
  const unpacked = unpack(payload);
  if (!unpacked.ok) return unpacked;
  const batch = fieldsOf(unpacked.value);
  if (batch === null) return { ok: false, message: "it is no batch" };
  const [timestamp, events, rank] = [batch("ts", 0), batch("events", 1), batch("data_parallel_rank", 2)];
  if (typeof timestamp !== "number" || !Number.isFinite(timestamp)) return { ok: false, message: "it has no time" };
  if (!isList(events)) return { ok: false, message: "it has no events" };
  if (rank !== null && !isCount(rank)) return { ok: false, message: "its rank is no number" };
  const read = events.map(readEvent);
  return {
    ok: true,
    batch: {
      timestamp,
      rank: rank ?? 0,
      events: read.filter((event) => typeof event !== "string"),
      malformed: read.filter((event) => event === "malformed").length,
      unknown: read.filter((event) => event === "unknown").length,
    },
  };
}

function readEvent(packed: Packed): EventRead {
  const fields = fieldsOf(packed);
  if (fields === null) return "malformed";
  switch (fields("type", 0)) {
    case "BlockStored":
      return readStored(fields);
    case "BlockRemoved":
      return readRemoved(fields);
    case "AllBlocksCleared":
      return { type: "cleared" };
    default:
      return typeof fields("type", 0) === "string" ? "unknown" : "malformed";
  }
}

function readStored(fields: Fields): EventRead {
  const keys = keysOf(fields("block_hashes", 1));
  const parent = fields("parent_block_hash", 2);
  const parentKey = parent === null ? null : keyOf(parent);
  const tier = tierOf(fields("medium", 6));
  const group = fields("group_idx", 9) ?? 0;
  const kind = fields("kv_cache_spec_kind", 10);
  const adapter = fields("lora_name", 7);
  if (keys === null || parentKey === undefined || !isCount(group)) return "malformed";
  if ((kind !== null && typeof kind !== "string") || (adapter !== null && typeof adapter !== "string")) return "malformed";
  if (typeof tier === "string") return tier;
  const described = tokensOf(fields("token_ids", 3), fields("block_size", 4), keys.length);
  const extraKeys = extraKeysOf(fields("extra_keys", 8), keys.length);
  if (described === undefined || extraKeys === undefined) return "malformed";
  return { type: "stored", keys, parent: parentKey, ...described, tier, group, isPrefix: isPrefixKind(kind), adapter, extraKeys };
}

function readRemoved(fields: Fields): EventRead {
  const keys = keysOf(fields("block_hashes", 1));
  const tier = tierOf(fields("medium", 2));
  const group = fields("group_idx", 3) ?? 0;
  if (keys === null || !isCount(group)) return "malformed";
  return typeof tier === "string" ? tier : { type: "removed", keys, tier, group };
}

/** Of a map by name, of an array by place; what is absent is null. */
function fieldsOf(packed: Packed): Fields | null {
  if (packed instanceof Map) return (name) => packed.get(name) ?? null;
  return isList(packed) ? (_, index) => packed[index] ?? null : null;
}

function isList(packed: Packed): packed is readonly Packed[] {
  return Array.isArray(packed);
}

function isCount(packed: Packed): packed is number {
  return typeof packed === "number" && Number.isSafeInteger(packed) && packed >= 0;
}

function keysOf(packed: Packed): BlockHash[] | null {
  if (!isList(packed)) return null;
  const keys: BlockHash[] = [];
  for (const hash of packed) {
    const key = keyOf(hash);
    if (key === undefined) return null;
    keys.push(key);
  }
  return keys;
}

/**
 * 16 hex digits. vLLM sends a block's SHA-256 whole, or its low 64 bits as an integer, signed in early versions: the last 8 bytes are the
 * same block's key in all three.
 */
function keyOf(hash: Packed): BlockHash | undefined {
  if (typeof hash === "bigint" || (typeof hash === "number" && Number.isSafeInteger(hash))) {
    return BigInt.asUintN(64, BigInt(hash)).toString(16).padStart(16, "0") as BlockHash;
  }
  if (!(hash instanceof Uint8Array) || hash.length < 8 || hash.length > 64) return undefined;
  return Array.from(hash.subarray(-8), (byte) => byte.toString(16).padStart(2, "0")).join("") as BlockHash;
}

/** "GPU" is whatever device the engine runs on. No medium: versions that knew no other. */
function tierOf(medium: Packed): number | "malformed" | "unknown" {
  if (medium === null || medium === "GPU") return TIER.device;
  if (medium === "CPU") return TIER.host;
  if (medium === "STORAGE" || medium === "DISK") return TIER.disk;
  return typeof medium === "string" ? "unknown" : "malformed";
}

/** Of a block every token attends to all before it: full attention, MLA, and full attention with sinks. No kind: versions that knew no other. */
function isPrefixKind(kind: string | null): boolean {
  return kind === null || /^(full_attention|mla|sink_full)/.test(kind);
}

/** Undefined: it makes no sense. */
function tokensOf(
  packed: Packed,
  blockTokens: Packed,
  blocks: number,
): { tokens: Uint32Array; blockTokens: number } | { tokens: null; blockTokens: null } | undefined {
  // Where only keys are named, these are absent, empty or 0.
  if (packed === null || (isList(packed) && packed.length === 0)) return { tokens: null, blockTokens: null };
  if (!isList(packed) || !isCount(blockTokens) || packed.length !== blockTokens * blocks) return undefined;
  if (!packed.every((token) => isCount(token) && token <= 0xffff_ffff)) return undefined;
  return { tokens: Uint32Array.from(packed, Number), blockTokens };
}

/** Undefined: it makes no sense. */
function extraKeysOf(packed: Packed, blocks: number): StoredBlocks["extraKeys"] | undefined {
  if (packed === null) return null;
  if (!isList(packed) || packed.length !== blocks) return undefined;
  const extraKeys = packed.map((extra) => (extra === null ? null : isList(extra) ? extra.map(partText) : undefined));
  return extraKeys.every((extra) => extra !== undefined) ? extraKeys : undefined;
}

/** An extra key is a text, or a tuple of them for an image. */
function partText(part: Packed): string {
  if (typeof part !== "object" || part === null) return String(part);
  if (part instanceof Uint8Array) return Buffer.from(part).toString("hex");
  return (isList(part) ? part : [...part.keys(), ...part.values()]).map(partText).join("\u0000");
}
