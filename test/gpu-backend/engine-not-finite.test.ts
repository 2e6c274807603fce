/** A run whose numbers are not finite ends with an error, and nobody else meets them: not in blocks, not in freed cells. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BlockPayload, EngineKey, Restore } from "../../gpu-backend/engine/engine.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { again, kvPrefill, kvPrepare, kvPrompt, kvRequest, kvRun } from "../conformance/engine-kv.ts";
import { prose, startDemo } from "./engine-runs.ts";
import { ensureOverflowingModel, OVERFLOWS } from "./overflowing-model.ts";

let directory: string;
let engine: LlamaEngine;
/** Of the same model, and never given anything wrong. */
let clean: LlamaEngine;
const resident = new Set<EngineKey>();

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "warmpath-overflow-"));
  const modelPath = await ensureOverflowingModel(directory);
  [engine, clean] = await Promise.all([startDemo({ modelPath, queueLimit: 8 }), startDemo({ modelPath, queueLimit: 8 })]);
  engine.kv.onResidency((changes) => {
    for (const { key, held } of changes) void (held ? resident.add(key) : resident.delete(key));
  });
});
afterAll(async () => {
  await Promise.all([engine.close(), clean.close()]);
  await rm(directory, { recursive: true });
});

/** Prompts of other salts, of many lengths, on every sequence: each as a clean engine answers it. */
async function expectOthersClean(topic: string, count = 50): Promise<void> {
  for (let n = 0; n < count; n++) {
    const asked = kvRequest(prose(`${topic}${n}`, 5 + ((n * 37) % 90)), { maxTokens: 6 });
    const { text, logprobs, reason } = await kvRun(clean, again(asked));
    expect(await kvRun(engine, asked), `${topic} ${n}`).toMatchObject({ text, logprobs, reason, cachedTokens: 0 });
  }
}

describe("a run that overflows", () => {
  it("ends with an error, announces and keeps nothing, and leaves nothing to the next fifty prompts of other salts", async () => {
    for (const sampling of [{ temperature: 0 }, { temperature: 0.9, topP: 0.8 }, { grammar: { type: "json_object" as const } }]) {
      const asked = kvRequest(`${prose("bad", 60)} ${OVERFLOWS} ${prose("more", 60)}`, sampling);
      const before = engine.faults.notFinite;
      expect(await kvRun(engine, asked)).toMatchObject({ text: "", reason: "error", outputTokens: 0 });
      expect(engine.faults.notFinite).toBe(before + 1);
      const { blockKeys, heldBlocks } = await kvPrepare(engine, asked);
      expect(heldBlocks).toBe(0);
      expect(blockKeys.some((key) => resident.has(key))).toBe(false);
      expect(await engine.kv.exchange.export(blockKeys)).toEqual([]);
    }
    await expectOthersClean("after");
  });

  it("gives nothing to a replica that it computes for", async () => {
    const asked = kvRequest(`${prose("given", 60)} ${OVERFLOWS}`);
    const { blockKeys } = await kvPrepare(engine, asked);
    const answer = await engine.kv.exchange.prefill(again(asked), new Set(blockKeys), new AbortController().signal);
    expect(answer).toMatchObject({ type: "failed", message: expect.stringContaining("not finite") });
    expect(engine.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
    await expectOthersClean("given", 12);
  });
});

describe("a restore with a number that is not finite", () => {
  /** The half of `payload` at `at` becomes this f16. */
  function withNumber(payload: BlockPayload, at: number, f16: number): BlockPayload {
    const data = Uint8Array.from(payload.data);
    new DataView(data.buffer).setUint16(2 * Math.floor((at * (data.length - 2)) / 2), f16, true);
    return { ...payload, data };
  }

  it("is refused and counted, wherever the number is, and the answer is as without it", async () => {
    const asked = kvRequest(await kvPrompt(clean, 100, "poison"));
    const cold = await kvRun(clean, again(asked));
    const { blocks, tail, first } = await kvPrefill(clean, again(asked), (await kvPrepare(clean, asked)).blockKeys);
    const honest = { from: 0, blocks, tail: { payload: tail, first } };
    const wrong: Restore[] = [];
    for (const f16 of [0x7c00, 0xfc00, 0x7e00, 0xffff]) {
      for (const at of [0, 0.3, 0.7, 1]) {
        wrong.push({ ...honest, blocks: blocks.map((block, i) => (i === 1 ? withNumber(block, at, f16) : block)) });
        wrong.push({ ...honest, tail: { ...honest.tail, payload: withNumber(tail, at, f16) } });
      }
    }
    for (const restore of wrong) {
      const before = engine.faults.restores;
      const { text, logprobs, cachedTokens } = await kvRun(engine, kvRequest(asked.prompt), restore);
      expect([text, logprobs, cachedTokens]).toEqual([cold.text, cold.logprobs, 0]);
      expect(engine.faults.restores).toBe(before + 1);
    }
    expect((await kvRun(engine, kvRequest(asked.prompt), honest)).cachedTokens).toBe(96);
    await expectOthersClean("restored", 12);
  });
});
