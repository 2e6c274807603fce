import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openDiskTier } from "../../gpu-backend/blocks/disk-tier.ts";
import { HostTier } from "../../gpu-backend/blocks/host-tier.ts";
import { createStoreTier } from "../../gpu-backend/blocks/store-tier.ts";
import { createTierStack, type OfferedBlock, type TierStack, type TierStackOptions } from "../../gpu-backend/blocks/tier-stack.ts";
import type { SealedBlock } from "../../gpu-backend/blocks/block.ts";
import { damagedIn, type Tier, type TierName } from "../../gpu-backend/blocks/tier.ts";
import type { EngineKey, KeyedBlock } from "../../gpu-backend/engine/engine.ts";
import { blockOf, card, chainOf, Clock, keyOf, kvSpace, sealedOf } from "../conformance/tier-blocks.ts";
import { faultyDisk } from "../conformance/tier-media.ts";
import { startStore, storeAt } from "../conformance/tier-store.ts";

const MUTATIONS = process.env["WARMPATH_FULL"] === "1" ? 10_000 : 200;
const SIZE = sealedOf("a").bytes.length;
const never = new AbortController().signal;
let clock: Clock;
let directory = "";
let changes: [EngineKey, number][] = [];

beforeEach(async () => {
  clock = new Clock();
  changes = [];
  directory = await mkdtemp(join(tmpdir(), "warmpath-stack-"));
});
afterEach(() => rm(directory, { recursive: true }));

function stackOf(tiers: Tier[], more: Partial<TierStackOptions> = {}): TierStack {
  return createTierStack({ tiers, now: clock.now, ...card, onChange: (key, bits) => changes.push([key, bits]), ...more });
}

function host(blocks = 100): HostTier {
  return new HostTier({ budgetBytes: blocks * SIZE, now: clock.now });
}

function disk(blocks = 100): Promise<Tier> {
  return openDiskTier({ directory, budgetBytes: blocks * SIZE, now: clock.now, kvSpace });
}

/** A tier whose reads take `msPerBlock` of the injected clock. */
function slow(name: TierName, msPerBlock: () => number): Tier {
  const inner = host();
  const get: Tier["get"] = (key, signal, inspect) => {
    clock.ms += msPerBlock();
    return inner.get(key, signal, inspect);
  };
  return new Proxy<Tier>(inner, {
    get: (target, property) => {
      if (property === "name") return name;
      if (property === "get") return get;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function payload(blocks: readonly (OfferedBlock | KeyedBlock)[]): KeyedBlock[] {
  return blocks.map(({ key, tokens, data }) => ({ key, tokens, data: Uint8Array.from(data) }));
}

const keys = (blocks: readonly { key: EngineKey }[]): EngineKey[] => blocks.map(({ key }) => key);

it("spreads offered blocks over host, disk and store, reports each, and returns them", async () => {
  const store = await startStore();
  const stack = stackOf([host(), await disk(), createStoreTier(store.options(clock.now, 100 * SIZE))]);
  const chain = chainOf("c", 6);
  stack.offer(chain);
  stack.offer(chain);
  expect(stack.counters.offered).toBe(6);
  await stack.idle();
  expect(chain.map(({ key }) => stack.bitsOf(key))).toEqual(chain.map(() => 14));
  expect(changes).toHaveLength(18);
  expect(changes.filter(([, bits]) => bits === 14)).toHaveLength(6);
  expect(new Map(stack.entries())).toEqual(new Map(chain.map(({ key }) => [key, 14])));
  expect(payload(await stack.load(chain, never))).toEqual(payload(chain));
  expect(await stack.load([...chain.slice(0, 2), blockOf("none"), ...chain.slice(2)], never)).toHaveLength(2);
  expect(stack.counters).toEqual({ offered: 6, dropped: 0, orphaned: 0, invalid: 0, loadedBlocks: 8, loadedTokens: 32 });
  await stack.close();
  stack.offer(chainOf("late", 1));
  expect(stack.queuedBytes).toBe(0);
  await store.close();
});

it("brings what it reads from the disk back to the host, after a restart too", async () => {
  const chain = chainOf("c", 5);
  const before = stackOf([host(), await disk()]);
  before.offer(chain);
  await before.close();
  const after = stackOf([host(), await disk()]);
  expect(new Map(after.entries())).toEqual(new Map(chain.map(({ key }) => [key, 4])));
  expect(payload(await after.load(chain, never))).toEqual(payload(chain));
  await after.idle();
  expect(chain.map(({ key }) => after.bitsOf(key))).toEqual([6, 6, 6, 6, 6]);
  await after.close();
});

it("keeps on the disk what the host lets go", async () => {
  const stack = stackOf([host(2), await disk()]);
  const chain = chainOf("c", 4);
  stack.offer(chain);
  stack.offer([blockOf("d")]);
  await stack.idle();
  expect(chain.map(({ key }) => stack.bitsOf(key))).toEqual([6, 4, 4, 4]);
  expect(await stack.load(chain, never)).toHaveLength(4);
  await stack.close();
});

it("takes no more than its queues hold, whatever a tier does", async () => {
  let release: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const inner = slow("disk", () => 0);
  const stuck = new Proxy(inner, {
    get: (target, property): unknown =>
      property === "put" ? (block: SealedBlock) => gate.then(() => target.put(block)) : Reflect.get(target, property, target),
  });
  const stack = stackOf([stuck], { queueBytes: 4 * SIZE });
  for (let n = 0; n < 20; n++) stack.offer([blockOf(`x${n}`)]);
  expect(stack.queuedBytes).toBeLessThanOrEqual(4 * SIZE);
  expect(stack.counters.dropped).toBeGreaterThanOrEqual(10);
  release?.();
  await stack.idle();
  expect(stack.queuedBytes).toBe(0);
  expect([...inner.keys()]).toHaveLength(20 - stack.counters.dropped);
  stack.offer([{ ...blockOf("bad"), data: new Uint8Array(1) }]);
  await stack.idle();
  expect([stack.counters.invalid, stack.bitsOf(keyOf("bad"))]).toEqual([1, 0]);
});

it("works with the store down: offers and loads end, the rest stays", async () => {
  const stack = stackOf([
    host(),
    createStoreTier({ ...storeAt("http://127.0.0.1:1"), prefix: "", kvSpace, budgetBytes: 1e6, now: clock.now }),
  ]);
  const chain = chainOf("c", 8);
  stack.offer(chain);
  await stack.idle();
  expect(await stack.load(chain, never)).toHaveLength(8);
  expect((stack.tiers[1]?.counters.refused ?? 0) + stack.counters.orphaned).toBe(8);
  expect(stack.bitsOf(chain[0]?.key ?? keyOf(""))).toBe(2);
  await stack.close();
});

it("falls back to the next tier when one is damaged, and forgets the damaged copy", async () => {
  const near = host();
  const stack = stackOf([near, await disk()]);
  const chain = chainOf("c", 3);
  stack.offer(chain);
  await stack.idle();
  const held = (await near.get(keyOf("c1")))?.bytes;
  if (held !== undefined) held[130] = (held[130] ?? 0) ^ 1;
  expect(payload(await stack.load(chain, never))).toEqual(payload(chain));
  expect(near.counters.damaged).toMatchObject({ checksum: 1 });
  expect(damagedIn(near.counters)).toBe(1);
  await stack.idle();
  expect(stack.bitsOf(keyOf("c1"))).toBe(6);
});

it("looks at the blocks behind one that is gone, so that the prompt is whole the next time", async () => {
  const tier = await disk();
  const stack = stackOf([tier]);
  const blocks = chainOf("x", 16);
  stack.offer(blocks);
  await stack.idle();
  const fileOf = (index: number): string => join(directory, blocks[index]?.key.slice(0, 2) ?? "", blocks[index]?.key ?? "");
  for (const index of [1, 12]) {
    await rm(fileOf(index));
    await mkdir(fileOf(index));
  }
  await rm(fileOf(15));
  expect(await stack.load(blocks, never)).toHaveLength(1);
  await stack.checked();
  expect(blocks.flatMap(({ key }, index) => (tier.has(key) ? [] : [index]))).toEqual([1, 12, 15]);
  expect(tier.counters).toMatchObject({ errors: 1, damaged: { not_a_file: 2 } });
  stack.offer(blocks);
  await stack.idle();
  expect(payload(await stack.load(blocks, never))).toEqual(payload(blocks));
});

it(`${MUTATIONS} mutated files: what loads is what was offered, nothing stays behind`, async () => {
  const tier = await disk();
  const stack = stackOf([tier]);
  const chain = chainOf("m", 2);
  const first = sealedOf("m0");
  const whole = sealedOf("m1", "m0");
  const path = join(directory, whole.key.slice(0, 2), whole.key);
  await tier.put(first);
  for (let round = 0; round < MUTATIONS; round++) {
    await tier.put(whole);
    stack.pin([whole.key], clock.ms + 1_000_000);
    const at = (round * 37) % whole.bytes.length;
    let bytes = Uint8Array.from(whole.bytes);
    if (round % 10 === 9) bytes = bytes.slice(0, at);
    else bytes[at] = (bytes[at] ?? 0) ^ (1 << (Math.floor(round / whole.bytes.length) % 8));
    await writeFile(path, bytes);
    expect(payload(await stack.load(chain, never)), `${round}`).toEqual(payload(chain.slice(0, 1)));
    expect([stack.bitsOf(whole.key), tier.usedBytes]).toEqual([0, SIZE]);
  }
  const left = await readdir(directory, { recursive: true, withFileTypes: true });
  expect(
    left
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name)
      .toSorted(),
  ).toEqual([first.key, "owner", "warmpath-blocks"].toSorted());
  // The pins went with their blocks.
  expect(tier.pin(whole.key, 1)).toBe(false);
}, 60_000);

it("stops at an abort with what it has, and does not blame the tier", async () => {
  const cancel = new AbortController();
  let reads = 0;
  const tier = slow("disk", () => {
    if (++reads === 6) cancel.abort();
    return 1;
  });
  const stack = stackOf([tier]);
  const chain = chainOf("c", 20);
  stack.offer(chain);
  await stack.idle();
  const loaded = await stack.load(chain, cancel.signal);
  expect(loaded.length).toBeLessThanOrEqual(6);
  expect(keys(loaded)).toEqual(keys(chain).slice(0, loaded.length));
  expect([...tier.keys()]).toHaveLength(20);
  expect(await stack.load(chain, AbortSignal.abort())).toEqual([]);
});

it("pins in every tier", async () => {
  const stack = stackOf([host(4), await disk(4)]);
  stack.offer(chainOf("c", 2));
  await stack.idle();
  stack.pin(keys(chainOf("c", 2)), clock.ms + 10);
  stack.offer(chainOf("d", 3));
  await stack.idle();
  expect([stack.bitsOf(keyOf("c1")), stack.bitsOf(keyOf("d1")), stack.bitsOf(keyOf("d2"))]).toEqual([6, 6, 0]);
  clock.ms += 11;
  stack.offer(chainOf("e", 1));
  await stack.idle();
  expect([stack.bitsOf(keyOf("c1")), stack.bitsOf(keyOf("e0"))]).toEqual([0, 6]);
});

it("learns what a token costs from each tier, and forgets an old grudge", async () => {
  let msPerBlock = 8;
  const stack = stackOf([slow("disk", () => msPerBlock)]);
  const chain = chainOf("c", 10);
  stack.offer(chain);
  await stack.idle();
  const prior = stack.loadMsPerToken("disk");
  expect(stack.worthLoading(40, 4, 1)).toBe(true);
  await stack.load(chain, never);
  // 10 blocks of 4 tokens in 80 ms.
  expect(stack.loadMsPerToken("disk")).toBeCloseTo(2, 1);
  expect(stack.worthLoading(40, 4, 1)).toBe(false);
  expect(stack.worthLoading(40, 4 | 2, 1)).toBe(true);
  expect(stack.worthLoading(40, 0, 1)).toBe(false);
  msPerBlock = 2;
  for (let n = 0; n < 10; n++) await stack.load(chain, never);
  expect(stack.loadMsPerToken("disk")).toBeCloseTo(0.58, 1);
  expect(stack.worthLoading(40, 4, 1)).toBe(true);
  stack.learnRestore(40, 80);
  expect(stack.worthLoading(40, 4, 1)).toBe(false);
  clock.ms += 10 * 60_000;
  expect(stack.loadMsPerToken("disk")).toBeCloseTo(prior, 2);
  expect(stack.worthLoading(40, 4, 1)).toBe(true);
});

it("keeps the newest eight prompts warm on a disk that others have filled", async () => {
  const { tier, medium } = await faultyDisk({ budgetBytes: 1_000 * SIZE, now: clock.now, directory });
  const stack = stackOf([tier]);
  const prompts = Array.from({ length: 40 }, (_, n) => chainOf(`p${n}-`, 6));
  for (const [n, prompt] of prompts.entries()) {
    // There is room for ten prompts, then for nine.
    medium.capacityBytes = (n < 20 ? 60 : 54) * SIZE;
    stack.offer(prompt);
    await stack.idle();
    clock.ms += 5_000;
  }
  let warm = 0;
  for (const prompt of prompts.slice(-8)) warm += (await stack.load(prompt, never)).length / prompt.length;
  expect(warm / 8).toBeGreaterThanOrEqual(0.9);
  expect(tier.usedBytes).toBeLessThanOrEqual(54 * SIZE);
  expect(tier.counters.full).toBeGreaterThan(0);
  await stack.close();
});
