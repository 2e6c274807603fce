/** vLLM's KV events: what was recorded is read to the last byte, in both encodings, and what was made wrong harms nobody. */
import { describe, expect, test } from "vitest";
import { readMessage, replayRequest } from "../../gpu-backend/engine/vllm/event-frames.ts";
import { HeldBlocks } from "../../gpu-backend/engine/vllm/held-blocks.ts";
import { type KvEvent, readBatch, type StoredBlocks } from "../../gpu-backend/engine/vllm/kv-events.ts";
import { unpack } from "../../gpu-backend/engine/vllm/message-pack.ts";
import { TIER } from "../../src/residency/tiers.ts";
import { seeded } from "../e2e/mutations.ts";
import { END, pack, type Packable, type Recorded, RECORDINGS, recorded } from "./vllm-recorded.ts";

const FUZZED = Number(process.env["WARMPATH_FUZZ_FRAMES"] ?? 1_000);

function eventsOf(payload: Uint8Array): KvEvent[] {
  const read = readBatch(payload);
  if (!read.ok) throw new Error(read.message);
  expect([read.batch.malformed, read.batch.unknown]).toEqual([0, 0]);
  return read.batch.events;
}

const batchOf = (...events: Packable[]): Uint8Array => pack([1.5, events, 3]);

function eventsOfRow({ frames }: Recorded): KvEvent[] {
  const said = readMessage(frames ?? []);
  return said.type === "batch" ? eventsOf(said.payload) : [];
}

describe("what was recorded", () => {
  test.each(RECORDINGS)("is read whole: %s", (name) => {
    const rows = recorded(name).filter(({ kind }) => kind !== "request");
    const messages = rows.map(({ frames }) => readMessage(frames ?? []));
    expect(messages.filter(({ type }) => type === "malformed")).toEqual([]);
    const events = messages.flatMap((said) => (said.type === "batch" ? eventsOf(said.payload) : []));
    expect(events.length).toBeGreaterThan(20);
    for (const event of events) {
      if (event.type === "cleared") continue;
      expect(event.keys.every((key) => /^[0-9a-f]{16}$/.test(key))).toBe(true);
      if (event.type === "stored") expect(event.tokens?.length).toBe((event.blockTokens ?? 0) * event.keys.length);
    }
    // Above 2^53 a JavaScript number is another block's.
    expect(events.some((event) => event.type === "stored" && event.keys.some((key) => BigInt(`0x${key}`) > 2n ** 63n))).toBe(true);
  });

  test("a batch that is sent again is the batch that came live", () => {
    const payloads = new Map<number, Buffer>();
    let compared = 0;
    for (const { kind, frames } of recorded("one-rank")) {
      const said = readMessage(frames ?? []);
      if (said.type !== "batch") continue;
      if (kind === "live") payloads.set(said.seq, Buffer.from(said.payload));
      else expect(payloads.get(said.seq)?.equals(said.payload)).toBe(true);
      if (kind === "replayed") compared += 1;
    }
    expect(compared).toBeGreaterThan(10);
  });

  test("two ranks say which of them they are", () => {
    const ranks = recorded("two-ranks").map(({ portOffset, frames }) => {
      const said = readMessage(frames ?? []);
      const read = said.type === "batch" ? readBatch(said.payload) : { ok: false as const };
      return [portOffset, read.ok ? read.batch.rank : null];
    });
    expect(new Set(ranks.map(([offset]) => offset)).size).toBe(2);
    for (const [offset, rank] of ranks) expect(rank).toBe(offset);
  });

  test.each(["gpu", "offload"])("tells for each request how many of its tokens %s found cached", (server) => {
    const rows = recorded("device-and-host").filter((row) => row.server === server && row.kind !== "replayed");
    const held = new HeldBlocks();
    const stored: StoredBlocks[] = [];
    const told: [string | undefined, number][] = [];
    const found: [string | undefined, number | undefined][] = [];
    // Before the last the cache was reset, which the engine says with that request's own blocks.
    for (const asked of rows.filter(({ kind }) => kind === "request").slice(0, -1)) {
      told.push([asked.request, leadingTokens(asked, stored, held)]);
      found.push([asked.request, asked.cachedTokens]);
      for (const event of rows.filter((row) => row.kind === "live" && row.request === asked.request).flatMap(eventsOfRow)) {
        held.apply(event);
        if (event.type === "stored") stored.push(event);
      }
    }
    expect(found).toHaveLength(9);
    expect(told).toEqual(found);
  });

  test("after a reset only what came behind it is held", () => {
    const rows = recorded("device-and-host").filter(({ server, kind }) => server === "gpu" && kind === "live");
    const held = new HeldBlocks();
    for (const event of rows.flatMap(eventsOfRow)) held.apply(event);
    const last = rows.flatMap(eventsOfRow).at(-1);
    if (last?.type !== "stored") throw new Error("the recording ends otherwise");
    expect(held.size).toBe(last.keys.length);
    expect(last.keys.every((key) => held.bitsOf(key) === TIER.device)).toBe(true);
  });
});

/** Leading tokens of the prompt that lie on any tier in whole blocks; the last token is always computed. */
function leadingTokens({ prompt = [], salt }: Recorded, stored: readonly StoredBlocks[], held: HeldBlocks): number {
  const blockTokens = stored[0]?.blockTokens ?? 16;
  const keys = new Map<string, string>();
  for (const { keys: of, parent, tokens, extraKeys } of stored) {
    if (tokens === null) continue;
    for (const [index, key] of of.entries()) {
      const before = index === 0 ? parent : of[index - 1];
      keys.set(`${before}|${extraKeys?.[index]?.join()}|${tokens.subarray(index * blockTokens, (index + 1) * blockTokens).join()}`, key);
    }
  }
  const reusable = Math.floor((prompt.length - 1) / blockTokens);
  let parent: string | null = null;
  for (let block = 0; block < reusable; block++) {
    const extra = block === 0 && typeof salt === "string" ? salt : undefined;
    const tokens = prompt.slice(block * blockTokens, (block + 1) * blockTokens).join();
    const key = keys.get(`${parent}|${extra}|${tokens}`);
    if (key === undefined || held.bitsOf(key as never) === 0) return block * blockTokens;
    parent = key;
  }
  return reusable * blockTokens;
}

describe("an event", () => {
  const hash = 0xfedc_ba98_7654_3210n;
  const asMap = { type: "BlockStored", block_hashes: [hash], parent_block_hash: null, token_ids: [7, 8], block_size: 2, medium: "GPU" };
  const asArray = ["BlockStored", [hash], null, [7, 8], 2, null, "GPU"];

  test("is the same as a map and as an array, also beside each other", () => {
    const [map, array] = eventsOf(batchOf(asMap, asArray));
    expect(map).toEqual({
      type: "stored",
      keys: ["fedcba9876543210"],
      parent: null,
      tokens: Uint32Array.of(7, 8),
      blockTokens: 2,
      tier: TIER.device,
      group: 0,
      isPrefix: true,
      adapter: null,
      extraKeys: null,
    });
    expect(array).toEqual(map);
  });

  test("is read in a batch that is a map, and in one without a rank", () => {
    const whole = readBatch(pack({ ts: 2.5, events: [asMap], data_parallel_rank: 1 }));
    expect(whole).toMatchObject({ ok: true, batch: { timestamp: 2.5, rank: 1, events: [{ type: "stored" }] } });
    expect(readBatch(pack([2.5, [asArray]]))).toMatchObject({ ok: true, batch: { rank: 0, events: [{ type: "stored" }] } });
  });

  test("names a block by the same key whether its hash is whole, its low 64 bits, or those as a signed number", () => {
    const whole = Buffer.concat([Buffer.alloc(24, 0xaa), Buffer.from("fedcba9876543210", "hex")]);
    const [removed] = eventsOf(batchOf({ type: "BlockRemoved", block_hashes: [hash, whole, BigInt.asIntN(64, hash), 5] }));
    const key = "fedcba9876543210";
    expect(removed).toEqual({ type: "removed", keys: [key, key, key, "0000000000000005"], tier: TIER.device, group: 0 });
  });

  test("of an offload connector that does not describe itself has keys and a tier only", () => {
    const [stored] = eventsOf(batchOf({ type: "BlockStored", block_hashes: [1], token_ids: [], block_size: 0, medium: "CPU" }));
    expect(stored).toMatchObject({ tokens: null, blockTokens: null, tier: TIER.host });
  });

  test.each<[string, Packable]>([
    ["hashes that are no list", { ...asMap, block_hashes: 7 }],
    ["a hash that is no integer", { ...asMap, block_hashes: [1.5] }],
    ["a hash of 4 bytes", { ...asMap, block_hashes: [Buffer.alloc(4)] }],
    ["a parent that is a text", { ...asMap, parent_block_hash: "x" }],
    ["fewer tokens than its blocks have", { ...asMap, token_ids: [7] }],
    ["a token beyond 32 bits", { ...asMap, token_ids: [7, 2 ** 32] }],
    ["a negative token", ["BlockStored", [hash], null, [7, -8], 2]],
    ["a block size of a fraction", { ...asMap, block_size: 0.5 }],
    ["extra keys for another number of blocks", { ...asMap, extra_keys: [null, null] }],
    ["a group that is a text", { ...asMap, group_idx: "0" }],
    ["a medium that is a number", { type: "BlockRemoved", block_hashes: [1], medium: 4 }],
    ["no type", { block_hashes: [1] }],
    ["no shape at all", 7],
  ])("that has %s is left out and counted, and the others of its batch are read", (_, event) => {
    expect(readBatch(batchOf(event, { type: "AllBlocksCleared" }))).toMatchObject({
      ok: true,
      batch: { malformed: 1, unknown: 0, events: [{ type: "cleared" }] },
    });
  });

  test.each<[string, Packable]>([
    ["type", { type: "BlockMoved", block_hashes: [1] }],
    ["medium", { ...asMap, medium: "TAPE" }],
  ])("of a %s that is not known here is left out and counted apart", (_, event) => {
    expect(readBatch(batchOf(event))).toMatchObject({ ok: true, batch: { malformed: 0, unknown: 1, events: [] } });
  });
});

describe("bytes", () => {
  test.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(), "too early"],
    ["a list of four billion values in five bytes", Buffer.from("ddffffffff", "hex"), "too early"],
    ["a map of four billion values in five bytes", Buffer.from("dfffffffff", "hex"), "too early"],
    ["a text of four billion bytes in five", Buffer.from("dbffffffff", "hex"), "too early"],
    ["lists inside lists", Buffer.alloc(100_000, 0x91), "too deeply"],
    ["a text that is not UTF-8", Buffer.from("a1ff", "hex"), "UTF-8"],
    ["two values", Buffer.from("0101", "hex"), "behind"],
    ["a key that is a number", Buffer.from("810101", "hex"), "no text"],
    ["an extension", Buffer.from("d40100", "hex"), "type 0xd4"],
    ["more values than anybody sends", Buffer.concat([Buffer.from("dd00300000", "hex"), Buffer.alloc(0x30_0000)]), "too many"],
  ])("that are %s are refused", (_, bytes, why) => {
    expect(unpack(bytes)).toEqual({ ok: false, message: expect.stringContaining(why) });
  });

  test("of every kind of value are read", () => {
    const hex = "98 c0 c2 c3 d0ff d1fffe d2fffffffd d3fffffffffffffffc ca3fc00000";
    expect(unpack(Buffer.from(hex.replaceAll(" ", ""), "hex"))).toEqual({ ok: true, value: [null, false, true, -1, -2, -3, -4, 1.5] });
    const more = "99 7f e0 cc80 cd0100 ce00010000 cf0000000000000001 cfffffffffffffffff c40101 d90161";
    const value = [127, -32, 128, 256, 65_536, 1, 2n ** 64n - 1n, Uint8Array.of(1), "a"];
    expect(unpack(new Uint8Array(Buffer.from(more.replaceAll(" ", ""), "hex")))).toEqual({ ok: true, value });
  });

  test(`of ${FUZZED} damaged messages neither throw nor fill memory`, () => {
    const random = seeded(20_261_201);
    const payloads = RECORDINGS.flatMap((name) => recorded(name)).flatMap(({ frames }) => {
      const said = readMessage(frames ?? []);
      return said.type === "batch" ? [said.payload] : [];
    });
    const held = new HeldBlocks(10_000);
    const seen = { read: 0, refused: 0, partly: 0 };
    for (let turn = 0; turn < FUZZED; turn++) {
      const bytes = damaged(payloads[random(payloads.length)] ?? new Uint8Array(), random);
      const read = readBatch(bytes);
      if (!read.ok) seen.refused += 1;
      else if (read.batch.malformed + read.batch.unknown > 0) seen.partly += 1;
      else seen.read += 1;
      if (read.ok) for (const event of read.batch.events) held.apply(event);
    }
    expect(held.size).toBeLessThanOrEqual(10_000);
    // Each way out was taken.
    expect(Math.min(seen.read, seen.refused, seen.partly)).toBeGreaterThan(0);
  });
});

/** Cut short, bits flipped, bytes replaced, or lengthened. */
function damaged(whole: Uint8Array, random: (below: number) => number): Uint8Array {
  const bytes = Uint8Array.from(whole);
  const kind = random(4);
  if (kind === 0) return bytes.subarray(0, random(bytes.length));
  if (kind === 1) return Buffer.concat([bytes, Buffer.alloc(1 + random(16), random(256))]);
  for (let times = 1 + random(6); times > 0; times--) {
    const at = random(bytes.length);
    bytes[at] = kind === 2 ? (bytes[at] ?? 0) ^ (1 << random(8)) : random(256);
  }
  return bytes;
}

describe("a message", () => {
  const seq = (value: bigint): Uint8Array => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return bytes;
  };
  const [empty, topic, payload] = [new Uint8Array(), Buffer.from("t"), Buffer.from("p")];

  test("has its number and payload last, with a topic, without, and as both replies of a replay", () => {
    for (const frames of [
      [topic, seq(5n), payload],
      [empty, topic, seq(5n), payload],
      [empty, seq(5n), payload],
      [seq(5n), payload],
    ]) {
      expect(readMessage(frames)).toEqual({ type: "batch", seq: 5, payload });
    }
    expect(readMessage(END)).toEqual({ type: "end" });
    expect(replayRequest(5)).toEqual([empty, new Uint8Array(seq(5n))]);
  });

  test("of another shape is malformed", () => {
    for (const frames of [[], [payload], [topic, payload, payload], [seq(2n ** 60n), payload], Array.from({ length: 5 }, () => seq(1n))]) {
      expect(readMessage(frames).type).toBe("malformed");
    }
  });
});
