/**
 * Remembers over restarts which segments the blocks on disk and in the store end, so that a replica can announce these tiers before anybody
 * has asked for them again. An append-only file of 48-byte records, rewritten at open with what is still held.
 *   record: 32 bytes key · u64 segment hash · u32 tokens · u32 CRC-32 of the 44 bytes before
 */
import type { SegmentHash } from "../src/prefix/chain.ts";
import { closeSync, constants, lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type { EngineKey } from "./engine/engine.ts";
import type { Anchor } from "./held-segments.ts";
import { openRegularSync, readRegularSync } from "./regular-file.ts";

const RECORD_BYTES = 48;
/** So many appended records, and the next open is not the only time the file is rewritten. */
const MAX_APPENDED = 262_144;
/** After a write that failed (a full disk), the whole file is written again, at most this often. */
const RETRY_MS = 30_000;
/** Blocks with anchors; the oldest are forgotten first. */
const MAX_KEYS = 262_144;
/** Of the file: more than all these write. */
const MAX_BYTES = 64 * 1024 * 1024;

function encode({ key, hash, tokens }: Anchor): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record.write(key, 0, "hex");
  record.writeBigUInt64LE(hash, 32);
  record.writeUInt32LE(tokens, 40);
  record.writeUInt32LE(crc32(record.subarray(0, 44)), 44);
  return record;
}

/** What is left after a crash in the middle of a write, or damage, is skipped: an anchor that is missing only makes a prefix unknown. */
function* decode(bytes: Buffer): Generator<Anchor> {
  for (let at = 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    const record = bytes.subarray(at, at + RECORD_BYTES);
    if (record.readUInt32LE(44) !== crc32(record.subarray(0, 44))) continue;
    yield { key: record.toString("hex", 0, 32) as EngineKey, hash: record.readBigUInt64LE(32), tokens: record.readUInt32LE(40) };
  }
}

export class AnchorLog {
  readonly #file: string;
  readonly #isHeld: (key: EngineKey) => boolean;
  /** key → hashes written for it. */
  readonly #known = new Map<EngineKey, Map<SegmentHash, number>>();
  readonly #now: () => number;
  #appended = 0;
  /** The file lacks records, or ends in half of one: nothing may be appended before it is written again, then. */
  #brokenUntilMs: number | null = null;

  /** `now`: milliseconds. `isHeld`: whether the key is on a tier that outlives the process, or may be, as that is not known yet. */
  constructor(file: string, isHeld: (key: EngineKey) => boolean, now: () => number = Date.now) {
    this.#file = file;
    this.#isHeld = isHeld;
    this.#now = now;
    mkdirSync(dirname(file), { recursive: true });
    let bytes: Buffer = Buffer.alloc(0);
    try {
      bytes = readRegularSync(file, MAX_BYTES) ?? bytes;
    } catch {
      // The first start.
    }
    for (const anchor of decode(bytes)) if (isHeld(anchor.key)) this.#remember(anchor);
    this.#rewrite();
  }

  *anchors(): Generator<Anchor> {
    for (const [key, segments] of this.#known) for (const [hash, tokens] of segments) yield { key, hash, tokens };
  }

  /** Writes those that are new. What a full disk does not take is written when it has room again; a restart before that costs a warm start, nothing else. */
  add(anchors: readonly Anchor[]): void {
    const fresh = anchors.filter((anchor) => this.#remember(anchor));
    if (fresh.length === 0) return;
    if (this.#brokenUntilMs !== null) {
      if (this.#now() >= this.#brokenUntilMs) this.#rewrite();
      return;
    }
    this.#appended += fresh.length;
    if (this.#appended > MAX_APPENDED) return this.#rewrite();
    try {
      this.#append(Buffer.concat(fresh.map(encode)));
    } catch {
      this.#brokenUntilMs = this.#now();
    }
  }

  /** Throws, also where there is no file. Something else in its place is replaced by the whole file. */
  #append(records: Buffer): void {
    const file = openRegularSync(this.#file, constants.O_WRONLY | constants.O_APPEND);
    if (file === null) return this.#rewrite();
    try {
      writeFileSync(file, records);
    } finally {
      closeSync(file);
    }
  }

  #remember({ key, hash, tokens }: Anchor): boolean {
    let segments = this.#known.get(key);
    if (segments === undefined) this.#known.set(key, (segments = new Map()));
    if (segments.has(hash)) return false;
    segments.set(hash, tokens);
    return true;
  }

  /** What of a rewrite was written, or whatever else has its name. */
  #removeHalf(): void {
    try {
      rmSync(`${this.#file}.new`, { recursive: true, force: true });
    } catch {
      // It is written over the next time.
    }
  }

  #rewrite(): void {
    this.#appended = 0;
    for (const key of this.#known.keys()) if (!this.#isHeld(key) || this.#known.size > MAX_KEYS) this.#known.delete(key);
    this.#removeHalf();
    try {
      writeFileSync(`${this.#file}.new`, Buffer.concat([...this.anchors()].map(encode)), { flag: "wx" });
      // Of all that may stand there, a rename replaces no folder.
      if (lstatSync(this.#file, { throwIfNoEntry: false })?.isDirectory() === true) rmSync(this.#file, { recursive: true });
      renameSync(`${this.#file}.new`, this.#file);
      this.#brokenUntilMs = null;
    } catch {
      this.#brokenUntilMs = this.#now() + RETRY_MS;
      this.#removeHalf();
    }
  }
}
