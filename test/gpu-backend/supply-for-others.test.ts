/** A prompt that a replica computes for another is its own prompt too: loaded from its tiers, and kept there. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { again, kvPrompt, kvRequest } from "../conformance/engine-kv.ts";
import { type KvNode, startNode } from "./kv-node.ts";

const MIB = 1024 * 1024;
let prefiller: KvNode;
let decoder: KvNode;

beforeAll(async () => {
  // One sequence: the next prompt drives the one before off the device.
  [prefiller, decoder] = await Promise.all([startNode({ hostBytes: 64 * MIB }, { sequences: 1 }), startNode({ hostBytes: MIB })]);
});
afterAll(() => Promise.all([prefiller.close(), decoder.close()]));

it("keeps what it computed for another, and loads it when it is asked again", async () => {
  const asked = kvRequest(await kvPrompt(prefiller.engine, 900, "other"), { maxTokens: 8 });
  const blocks = 28;
  async function remote(salt: string) {
    const request = { ...again(asked), salt };
    prefiller.forOthers = again(request);
    const answer = await decoder.answer(request, { load: false, prefill: prefiller.source("prefill", salt), body: new Uint8Array([1]) });
    await prefiller.stack.idle();
    return answer;
  }
  const first = await remote("first");
  expect(first.supplied.transfer).toMatchObject({ kind: "prefill", outcome: "used" });
  expect(first.supplied.cachedElsewhere).toBe(0);
  const kept = first.prepared.blockKeys.slice(0, first.prepared.reusableBlocks);
  expect(kept).toHaveLength(blocks);
  expect(kept.filter((key) => prefiller.stack.bitsOf(key) === 0)).toEqual([]);
  // Other prompts take the device.
  await remote("second");
  for (const { engine } of [prefiller, decoder]) {
    for (let n = 0; n < 3; n++)
      await engine.kv.exchange.prefill(kvRequest(`Something else ${n}.`), new Set(), new AbortController().signal);
  }
  const again1 = await remote("first");
  expect([again1.text, again1.logprobs]).toEqual([first.text, first.logprobs]);
  expect(prefiller.stack.counters.loadedBlocks).toBe(blocks);
});

it("says how far it is, ever further, to its end", async () => {
  const asked = kvRequest(await kvPrompt(prefiller.engine, 1_000, "progress"));
  const said: number[] = [];
  const options = { progressed: (tokens: number) => said.push(tokens) };
  await prefiller.engine.kv.exchange.prefill(asked, new Set(), new AbortController().signal, options);
  expect(said.length).toBeGreaterThan(1);
  expect(said).toEqual(said.toSorted((a, b) => a - b));
  expect(said.at(-1)).toBe(1_000);
});
