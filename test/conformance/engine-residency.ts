/** The KV part of an engine's conformance: what it says that it holds is what later runs find. */
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Engine, EngineKey, PromptBlocks } from "../../gpu-backend/engine/engine.ts";
import { TIER } from "../../src/residency/tiers.ts";
import type { Opened } from "./engine.ts";
import { prose, runOf, type RunSeen } from "./engine-runs.ts";

/** What an engine holds on its device, as it has said it. */
export class Residency {
  readonly held = new Set<EngineKey>();
  /** Changes that changed nothing; none is right. */
  readonly void: EngineKey[] = [];

  constructor(engine: Engine) {
    engine.kv?.onResidency((changes) => {
      for (const { key, held, tier = TIER.device } of changes) {
        if (tier !== TIER.device) continue;
        if (this.held.has(key) === held) this.void.push(key);
        if (held) this.held.add(key);
        else this.held.delete(key);
      }
    });
  }

  /** Leading blocks that are held now. */
  leading(keys: readonly EngineKey[]): number {
    const gap = keys.findIndex((key) => !this.held.has(key));
    return gap < 0 ? keys.length : gap;
  }
}

function blocksOf({ queued }: RunSeen): PromptBlocks {
  if (queued.blocks === null) throw new Error("the engine has a KV part and does not say which blocks the prompt has");
  return queued.blocks;
}

/** An engine in another process says it a moment later, over a way of its own. */
async function told(condition: () => boolean): Promise<void> {
  for (let waits = 0; waits < 500 && !condition(); waits++) await pause(4);
}

export function describeResidency(opened: () => Opened): void {
  describe("residency", () => {
    it("says where each token of a prompt ends, in bytes, and names each full block", async () => {
      const { engine } = opened();
      const prompt = `Grüße, 你好 🙂! ${prose("ends", 30)}`;
      const run = await runOf(engine, prompt, { maxTokens: 1 });
      const { blockKeys, ...blocks } = blocksOf(run);
      const tokenEnds = (await blocks.tokenEnds) ?? new Uint32Array();
      expect(tokenEnds).toHaveLength(run.queued.promptTokens);
      expect([...tokenEnds].toSorted((a, b) => a - b)).toEqual([...tokenEnds]);
      expect(tokenEnds.at(-1)).toBe(Buffer.byteLength(prompt));
      expect(blockKeys).toHaveLength(Math.floor(run.queued.promptTokens / engine.card.blockTokens));
    });

    it("is told before the text that it allowed, and is what the next run finds", async () => {
      const { engine, residency } = opened();
      const { blockTokens } = engine.card;
      for (const [turn, topic] of ["north", "south", "north", "east", "south", "west", "north"].entries()) {
        // Whole turns: nothing else runs.
        const before = new Set(residency.held);
        const run = await runOf(engine, prose(topic, 20 + turn), { maxTokens: 2 });
        const { blockKeys } = blocksOf(run);
        const gap = blockKeys.findIndex((key) => !before.has(key));
        const held = (gap < 0 ? blockKeys.length : gap) * blockTokens;
        // The last tokens are computed always: their logits are wanted.
        expect(run.finished.cachedTokens).toBeLessThanOrEqual(held);
        expect(run.finished.cachedTokens).toBeGreaterThanOrEqual(Math.min(held, run.queued.promptTokens - blockTokens - 1));
        expect(run.finished.cachedTokens % blockTokens).toBe(0);
        if (engine.kv?.exchange === null) await told(() => residency.leading(blockKeys) === blockKeys.length);
        expect(residency.leading(blockKeys)).toBe(blockKeys.length);
      }
      expect(residency.void).toEqual([]);
    });

    it("is shared by no two salts", async () => {
      const { engine } = opened();
      const prompt = prose("salted", 30);
      const [one, other] = [await runOf(engine, prompt, { salt: "one" }), await runOf(engine, prompt, { salt: "other" })];
      expect(other.finished.cachedTokens).toBe(0);
      expect(other.text).toBe(one.text);
      expect(blocksOf(other).blockKeys.some((key) => blocksOf(one).blockKeys.includes(key))).toBe(false);
    });
  });
}
