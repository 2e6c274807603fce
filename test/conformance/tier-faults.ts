/** What every tier must do when its medium damages, lies, is full or stands still. */
import { describe, expect, it } from "vitest";
import { type BlockFault, openBlock, sealBlock } from "../../gpu-backend/blocks/block.ts";
import { damagedIn, type Inspect } from "../../gpu-backend/blocks/tier.ts";
import { blockOf, card, Clock, hashOf, keyOf, KV_TOKEN_BYTES, sealedOf } from "./tier-blocks.ts";
import type { FaultyTier, TierOptions } from "./tier-media.ts";

const block = blockOf("b", "a");
const sealed = sealedOf("b", "a");
const SIZE = sealed.bytes.length;
const inspect: Inspect = (bytes) => {
  const opened = openBlock(bytes, { ...card, key: block.key, tokens: block.tokens });
  return opened.ok ? null : opened.why;
};

function changed(at: number, change: (byte: number) => number): Uint8Array {
  const bytes = Uint8Array.from(sealed.bytes);
  bytes[at] = change(bytes[at] ?? 0);
  return bytes;
}

function resealed(change: Partial<typeof block>, kvSpace = card.kvSpace): Uint8Array {
  const other = { ...block, ...change };
  return sealBlock(other, { ...card, kvSpace, parent: other.parent }).bytes;
}

const notFinite = (): Uint8Array => {
  const data = Uint8Array.from(block.data);
  // An f16 NaN in the last token.
  data.set([0xff, 0xff], data.length - KV_TOKEN_BYTES);
  return data;
};

/** Each with a good seal where one is possible. */
const DAMAGE: [what: string, fault: BlockFault, bytes: Uint8Array][] = [
  ["a bit flipped in its data", "checksum", changed(SIZE - 60, (byte) => byte ^ 1)],
  ["a bit flipped in its seal", "checksum", changed(SIZE - 1, (byte) => byte ^ 1)],
  ["another magic", "magic", changed(0, (byte) => byte ^ 1)],
  ["another version", "version", changed(4, (byte) => byte + 1)],
  ["a count that no block has", "size", changed(106, () => 255)],
  ["a byte missing", "length", sealed.bytes.subarray(0, SIZE - 1)],
  ["nothing", "length", new Uint8Array(0)],
  ["another block", "key", sealedOf("c").bytes],
  ["another engine's block, sealed", "kv_space", resealed({}, hashOf("another engine"))],
  ["other tokens, sealed", "tokens", resealed({ tokens: block.tokens.map((token) => token + 1) })],
  ["a number that is not finite, sealed", "not_finite", resealed({ data: notFinite() })],
];

export type CreateFaulty = (options: TierOptions) => Promise<FaultyTier>;

export function tierFaultSuite(name: string, create: CreateFaulty): void {
  describe(`tier with a bad medium: ${name}`, () => {
    const clock = new Clock();
    const open = (blocks: number): Promise<FaultyTier> => create({ budgetBytes: blocks * SIZE, now: clock.now });

    it.each(DAMAGE)(
      "does not give a block with %s: counted as %s, forgotten, and good when it is written again",
      async (_what, fault, bytes) => {
        const { tier, medium } = await open(4);
        await tier.put(sealed);
        await medium.replace(block.key, bytes);
        expect(await tier.get(block.key, undefined, inspect)).toBeNull();
        expect(tier.counters.damaged).toMatchObject({ [fault]: 1 });
        expect(damagedIn(tier.counters)).toBe(1);
        expect([tier.has(block.key), tier.usedBytes]).toEqual([false, 0]);
        expect(tier.counters).toMatchObject({ hits: 0, misses: 1, errors: 0 });
        expect(await tier.put(sealed)).toBe("stored");
        expect((await tier.get(block.key, undefined, inspect))?.bytes).toEqual(sealed.bytes);
        await tier.close();
      },
    );

    it("keeps the newest when its medium is full before its budget, counts it, and grows again when there is room", async (test) => {
      const { tier, medium, gaps } = await open(100);
      if (gaps?.capacity !== undefined) test.skip(gaps.capacity);
      medium.capacityBytes = 5.5 * SIZE;
      for (let n = 0; n < 20; n++) expect(await tier.put(sealedOf(`x${n}`)), `${n}`).toBe("stored");
      expect([...tier.keys()].toSorted()).toEqual([15, 16, 17, 18, 19].map((n) => keyOf(`x${n}`)).toSorted());
      expect(tier.counters).toMatchObject({ refused: 0, errors: 0, evicted: 15 });
      // Not one failed write a block: what is known to be full is not tried.
      expect(tier.counters.full).toBe(1);
      // What is used stays, and its parent: the medium is full of what may not go.
      for (const key of tier.keys()) tier.pin(key, clock.ms + 10_000);
      medium.capacityBytes = Infinity;
      clock.ms += 30_000;
      for (let n = 20; n < 40; n++) expect(await tier.put(sealedOf(`x${n}`))).toBe("stored");
      expect(tier.usedBytes).toBe(25 * SIZE);
      await tier.close();
    });

    it("refuses when others have filled its medium, and loses nothing of what is pinned", async (test) => {
      const { tier, medium, gaps } = await open(100);
      if (gaps?.capacity !== undefined) test.skip(gaps.capacity);
      for (const name of ["a", "c"]) await tier.put(sealedOf(name));
      for (const name of ["a", "c"]) expect(tier.pin(keyOf(name), clock.ms + 10_000)).toBe(true);
      medium.capacityBytes = 0;
      for (let n = 0; n < 5; n++) expect(await tier.put(sealedOf(`x${n}`))).toBe("refused");
      expect([tier.has(keyOf("a")), tier.has(keyOf("c")), tier.usedBytes]).toEqual([true, true, 2 * SIZE]);
      await tier.close();
    });

    it("is not waited for when its medium stands still, and is not blamed", async (test) => {
      const { tier, medium, gaps } = await open(4);
      if (gaps?.stuck !== undefined) test.skip(gaps.stuck);
      await tier.put(sealed);
      medium.stuck = true;
      const stop = new AbortController();
      const got = tier.get(block.key, stop.signal, inspect);
      stop.abort();
      expect(await got).toBeNull();
      expect(tier.has(block.key)).toBe(true);
      expect(tier.counters).toMatchObject({ hits: 0, errors: 0 });
      expect(damagedIn(tier.counters)).toBe(0);
      medium.stuck = false;
      expect((await tier.get(block.key, undefined, inspect))?.key).toBe(block.key);
      await tier.close();
    });
  });
}
