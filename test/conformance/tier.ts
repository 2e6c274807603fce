import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openBlock, sealedBytes, type SealedBlock } from "../../gpu-backend/blocks/block.ts";
import { damagedIn, type PutOutcome, type Tier } from "../../gpu-backend/blocks/tier.ts";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { card, Clock, keyOf, KV_TOKEN_BYTES, sealedOf } from "./tier-blocks.ts";

export type CreateTier = (options: { budgetBytes: number; now: () => number }) => Promise<Tier>;

/** A tree: block n hangs on parents[n]. */
const parents = [null, 0, 1, 2, 0, 4, null, 6, 7, 1, null, 10] as const;
const nodes = parents.map((parent, index) => sealedOf(`n${index}`, parent === null ? null : `n${parent}`, 1 + (index % 3)));
const SIZE = sealedBytes(4, KV_TOKEN_BYTES);

type Op = { kind: "put" | "get" | "forget"; node: number } | { kind: "pin"; node: number; forMs: number } | { kind: "tick"; ms: number };

const node = fc.nat({ max: nodes.length - 1 });
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("put" as const), node }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("get" as const), node }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const), node }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("pin" as const), node, forMs: fc.integer({ min: -5, max: 50 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("tick" as const), ms: fc.nat({ max: 40 }) }) },
);

/** The rules, without a thought for speed. Last in the list is used last. */
class ModelTier {
  list: { block: SealedBlock; pinnedUntilMs: number }[] = [];
  readonly budgetBytes: number;
  readonly now: () => number;

  constructor(budgetBytes: number, now: () => number) {
    this.budgetBytes = budgetBytes;
    this.now = now;
  }

  get usedBytes(): number {
    return this.list.reduce((sum, { block }) => sum + block.bytes.length, 0);
  }

  has(key: EngineKey): boolean {
    return this.list.some(({ block }) => block.key === key);
  }

  use(key: EngineKey): void {
    const found = this.list.filter(({ block }) => block.key === key);
    this.list = [...this.list.filter(({ block }) => block.key !== key), ...found];
  }

  get pinnedBytes(): number {
    return this.list.reduce((sum, { block, pinnedUntilMs }) => sum + (pinnedUntilMs > this.now() ? block.bytes.length : 0), 0);
  }

  pin(key: EngineKey, untilMs: number): boolean {
    const held = this.list.find(({ block }) => block.key === key);
    if (held === undefined) return false;
    const pinned = held.pinnedUntilMs > this.now();
    if (untilMs > this.now() && !pinned && this.pinnedBytes + held.block.bytes.length > this.budgetBytes / 2) return false;
    held.pinnedUntilMs = untilMs;
    return true;
  }

  put(block: SealedBlock): PutOutcome {
    if (this.has(block.key)) {
      this.use(block.key);
      return "present";
    }
    const fits = (): boolean => this.usedBytes + block.bytes.length <= this.budgetBytes;
    while (!fits()) {
      const needed = new Set([block.parent, ...this.list.map((held) => held.block.parent)]);
      const victim = this.list.find((held) => !needed.has(held.block.key) && held.pinnedUntilMs <= this.now());
      if (victim === undefined || block.bytes.length > this.budgetBytes) return "refused";
      this.list = this.list.filter((held) => held !== victim);
    }
    this.list.push({ block, pinnedUntilMs: -Infinity });
    return "stored";
  }
}

/** What every Tier must do. `runs`: of the model test, which costs calls. */
export function tierSuite(name: string, create: CreateTier, runs: number): void {
  describe(`tier: ${name}`, () => {
    byExample(create);
    likeTheModel(create, runs);
  });
}

function byExample(create: CreateTier): void {
  const clock = new Clock();
  const open = (blocks: number): Promise<Tier> => create({ budgetBytes: blocks * SIZE, now: clock.now });

  it("gives back what it was given, and tells of it", async () => {
    const tier = await open(4);
    const told: [EngineKey, boolean, boolean][] = [];
    tier.onChange((key, held) => told.push([key, held, tier.has(key)]));
    const block = sealedOf("b", "a");
    expect(await tier.get(block.key)).toBeNull();
    expect(await tier.put(block)).toBe("stored");
    expect(await tier.put(block)).toBe("present");
    const got = await tier.get(block.key);
    expect(got).toMatchObject({ key: block.key, parent: keyOf("a") });
    expect(openBlock(got?.bytes ?? new Uint8Array(), { ...card, key: block.key })).toMatchObject({ ok: true });
    expect([...tier.keys()]).toEqual([block.key]);
    expect(tier.usedBytes).toBe(SIZE);
    await tier.forget(block.key);
    await tier.forget(block.key);
    expect(await tier.get(block.key)).toBeNull();
    expect(told).toEqual([
      [block.key, true, true],
      [block.key, false, false],
    ]);
    expect(tier.counters).toMatchObject({ hits: 1, misses: 2, evicted: 0, refused: 0, errors: 0, full: 0 });
    expect(damagedIn(tier.counters)).toBe(0);
    await tier.close();
  });

  it("lets the least recently used leaf go first, never a parent before its child", async () => {
    const tier = await open(3);
    for (const block of [sealedOf("a"), sealedOf("b", "a"), sealedOf("c")]) await tier.put(block);
    await tier.get(keyOf("b"));
    await tier.put(sealedOf("d"));
    expect(["a", "b", "c", "d"].map((name) => tier.has(keyOf(name)))).toEqual([true, true, false, true]);
    await tier.put(sealedOf("e"));
    await tier.put(sealedOf("f"));
    expect(["a", "b", "d", "e", "f"].map((name) => tier.has(keyOf(name)))).toEqual([false, false, true, true, true]);
    expect(tier.counters.evicted).toBe(3);
    await tier.close();
  });

  it("never makes room for a block with what comes before it", async () => {
    const tier = await open(2);
    expect(await tier.put(sealedOf("a"))).toBe("stored");
    expect(await tier.put(sealedOf("b", "a"))).toBe("stored");
    expect(await tier.put(sealedOf("c", "b"))).toBe("refused");
    expect([...tier.keys()].length).toBe(2);
    await tier.close();
  });

  it("keeps what is pinned while the pin lasts", async () => {
    const tier = await open(4);
    for (const name of ["a", "b", "x", "y"]) await tier.put(sealedOf(name));
    expect(tier.pin(keyOf("a"), clock.ms + 100)).toBe(true);
    expect(tier.pin(keyOf("b"), clock.ms + 200)).toBe(true);
    expect(tier.pin(keyOf("c"), clock.ms + 200)).toBe(false);
    for (const name of ["c", "d", "e"]) expect(await tier.put(sealedOf(name))).toBe("stored");
    expect(["a", "b", "c", "d", "e"].map((name) => tier.has(keyOf(name)))).toEqual([true, true, false, true, true]);
    clock.ms += 150;
    for (const name of ["f", "g"]) expect(await tier.put(sealedOf(name))).toBe("stored");
    expect(["a", "b", "f", "g"].map((name) => tier.has(keyOf(name)))).toEqual([false, true, true, true]);
    tier.pin(keyOf("b"), 0);
    expect(await tier.put(sealedOf("h"))).toBe("stored");
    expect(tier.has(keyOf("b"))).toBe(false);
    await tier.close();
  });

  it("lets pins take half of its budget together and no more, whoever asks", async () => {
    const tier = await open(8);
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (const name of names) await tier.put(sealedOf(name));
    expect(names.map((name) => tier.pin(keyOf(name), clock.ms + 100))).toEqual([true, true, true, true, false, false, false, false]);
    expect(tier.pinnedBytes).toBe(4 * SIZE);
    // What is pinned already costs nothing more; what is let go makes room.
    expect(tier.pin(keyOf("a"), clock.ms + 300)).toBe(true);
    expect(tier.pin(keyOf("b"), 0)).toBe(true);
    expect(tier.pin(keyOf("e"), clock.ms + 100)).toBe(true);
    await tier.forget(keyOf("c"));
    expect(tier.pinnedBytes).toBe(3 * SIZE);
    clock.ms += 200;
    expect(tier.pinnedBytes).toBe(SIZE);
    for (const name of ["s", "t", "u", "v", "w", "x", "y", "z"]) expect(await tier.put(sealedOf(name))).toBe("stored");
    expect(tier.has(keyOf("a"))).toBe(true);
    await tier.close();
  });

  it("lets a block go whose parents are a ring", async () => {
    const tier = await open(2);
    const ring = [
      { ...sealedOf("a"), parent: keyOf("b") },
      { ...sealedOf("b"), parent: keyOf("a") },
      { ...sealedOf("c"), parent: keyOf("c") },
    ];
    for (const block of ring) expect(await tier.put(block)).toBe("stored");
    for (const name of ["d", "e", "f"]) expect(await tier.put(sealedOf(name))).toBe("stored");
    expect(tier.usedBytes).toBe(2 * SIZE);
    await tier.close();
  });

  it("refuses what is larger than its budget, and loses nothing for it", async () => {
    const tier = await open(2);
    await tier.put(sealedOf("a"));
    expect(await tier.put(sealedOf("large", null, 40))).toBe("refused");
    expect([...tier.keys()]).toEqual([keyOf("a")]);
    expect(tier.counters).toMatchObject({ refused: 1, evicted: 0 });
    await tier.close();
  });

  it("stays within its budget when many write at once, also one block twice", async () => {
    const tier = await open(5);
    // What is on its way can't make room yet, so some may be refused.
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7, 0, 7].map((n) => tier.put(sealedOf(`x${n}`))));
    expect([...tier.keys()]).toHaveLength(5);
    expect(tier.usedBytes).toBe(5 * SIZE);
    for (const key of tier.keys()) expect((await tier.get(key))?.key).toBe(key);
    await tier.close();
  });
}

function likeTheModel(create: CreateTier, runs: number): void {
  it("evicts as the model does, whatever happens to it", async () => {
    const property = fc.asyncProperty(fc.array(op, { minLength: 10, maxLength: 40 }), fc.integer({ min: 3, max: 8 }), async (ops, room) => {
      const clock = new Clock();
      const budgetBytes = room * sealedBytes(2, KV_TOKEN_BYTES);
      const tier = await create({ budgetBytes, now: clock.now });
      const told = new Set<EngineKey>();
      tier.onChange((key, held) => void (held ? told.add(key) : told.delete(key)));
      const model = new ModelTier(budgetBytes, clock.now);
      for (const step of ops) {
        await compare(tier, model, clock, step);
        expect([...tier.keys()].toSorted()).toEqual(model.list.map(({ block }) => block.key).toSorted());
        expect([...told].toSorted()).toEqual([...tier.keys()].toSorted());
        expect(tier.usedBytes).toBe(model.usedBytes);
      }
      await tier.close();
    });
    await fc.assert(property, { seed: 11, numRuns: runs });
  });
}

async function compare(tier: Tier, model: ModelTier, clock: Clock, step: Op): Promise<void> {
  if (step.kind === "tick") {
    clock.ms += step.ms;
    return;
  }
  const block = nodes[step.node] ?? sealedOf("never");
  const { key } = block;
  if (step.kind === "put") expect(await tier.put(block)).toBe(model.put(block));
  if (step.kind === "get") {
    expect((await tier.get(key))?.key).toBe(model.has(key) ? key : undefined);
    model.use(key);
  }
  if (step.kind === "forget") {
    await tier.forget(key);
    model.list = model.list.filter((held) => held.block.key !== key);
  }
  if (step.kind === "pin") {
    const untilMs = clock.ms + step.forMs;
    expect(tier.pin(key, untilMs)).toBe(model.pin(key, untilMs));
    expect(tier.pinnedBytes).toBe(model.pinnedBytes);
  }
}
