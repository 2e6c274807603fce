/** The exchange of an engine's conformance: blocks that leave it and come back. Whether answers stay the same to the bit: engine-kv.ts. */
import { describe, expect, it } from "vitest";
import type { Engine, EngineKey, EngineRequest, KvExchange, PreparedKv, Restore } from "../../gpu-backend/engine/engine.ts";
import { prose, request, runOf, type RunSeen, seen } from "./engine-runs.ts";

export function describeExchange(given: () => { engine: Engine; exchange: KvExchange }): void {
  async function prepared(exchange: KvExchange, asked: EngineRequest): Promise<PreparedKv> {
    const answer = await exchange.prepare(asked);
    if (answer.type === "refused") throw new Error(answer.message);
    return answer;
  }

  async function imported(exchange: KvExchange, asked: EngineRequest, restore: Restore): Promise<RunSeen> {
    const run = await exchange.import(asked, restore);
    if (run.type === "refused") throw new Error(run.message);
    return seen(run);
  }

  describe("exchange", () => {
    it("prepares a prompt with the keys of its blocks, which its tokens alone make", async () => {
      const { engine, exchange } = given();
      const { tokens, blockKeys, heldBlocks, reusableBlocks } = await prepared(exchange, request(prose("keys", 30), { salt: "keys" }));
      expect(await exchange.blockKeys(tokens, "keys")).toEqual(blockKeys);
      expect(heldBlocks).toBe(0);
      expect(reusableBlocks).toBeLessThanOrEqual(blockKeys.length);
      expect(exchange.card.blockTokens).toBe(engine.card.blockTokens);
    });

    it("exports what is held, in the order asked, and leaves out the rest", async () => {
      const { engine, exchange } = given();
      const { blockTokens, kvTokenBytes } = exchange.card;
      const asked = request(prose("export", 30), { salt: "export" });
      const { tokens, blockKeys } = await prepared(exchange, asked);
      await runOf(engine, asked.prompt, { salt: "export", maxTokens: 1 });
      const [first, second] = blockKeys;
      if (first === undefined || second === undefined) throw new Error("the prompt has too few blocks");
      const blocks = await exchange.export([second, "f".repeat(64) as EngineKey, first]);
      expect(blocks.map(({ key }) => key)).toEqual([second, first]);
      expect(blocks[1]?.tokens).toEqual(tokens.slice(0, blockTokens));
      expect(blocks.map(({ data }) => data.byteLength)).toEqual([blockTokens * kvTokenBytes, blockTokens * kvTokenBytes]);
    });

    it("imports blocks instead of computing them, and the answer is the same", async () => {
      const { engine, exchange } = given();
      const prompt = prose("import", 30);
      const cold = await runOf(engine, prompt, { salt: "from" });
      const { blockKeys } = await prepared(exchange, request(prompt, { salt: "from" }));
      const { reusableBlocks } = await prepared(exchange, request(prompt, { salt: "to" }));
      const blocks = (await exchange.export(blockKeys)).slice(0, reusableBlocks);
      const warm = await imported(exchange, request(prompt, { salt: "to" }), { from: 0, blocks, tail: null });
      expect(blocks).toHaveLength(reusableBlocks);
      expect(warm.finished.cachedTokens).toBe(reusableBlocks * exchange.card.blockTokens);
      expect(warm.text).toBe(cold.text);
    });

    it("does not use blocks of another prompt, counts them, and answers all the same", async () => {
      const { engine, exchange } = given();
      await runOf(engine, prose("another", 30), { salt: "another" });
      const { blockKeys } = await prepared(exchange, request(prose("another", 30), { salt: "another" }));
      const blocks = await exchange.export(blockKeys);
      const { restores } = engine.faults;
      const cold = await runOf(engine, prose("its own", 30), { salt: "cold" });
      const run = await imported(exchange, request(prose("its own", 30), { salt: "own" }), { from: 0, blocks, tail: null });
      expect(run.finished.cachedTokens).toBe(0);
      expect(run.text).toBe(cold.text);
      expect(engine.faults.restores).toBe(restores + 1);
    });

    it("computes a prompt for another replica, whose answer then goes on from its first token", async () => {
      const { engine, exchange } = given();
      const prompt = prose("elsewhere", 30);
      const { blockKeys, tokens } = await prepared(exchange, request(prompt, { salt: "sender" }));
      const signal = new AbortController().signal;
      const prefilled = await exchange.prefill(request(prompt, { salt: "sender" }), new Set(blockKeys), signal);
      if (prefilled.type !== "prefilled") throw new Error(prefilled.message);
      expect(prefilled.blocks.map(({ key }) => key)).toEqual(blockKeys);
      expect(prefilled.tail.tokens).toEqual(tokens.slice(blockKeys.length * exchange.card.blockTokens));
      const tail = { payload: prefilled.tail, first: prefilled.first };
      const run = await imported(exchange, request(prompt, { salt: "receiver" }), { from: 0, blocks: prefilled.blocks, tail });
      expect(run.text).toBe((await runOf(engine, prompt, { salt: "alone" })).text);
      expect(run.finished.cachedTokens).toBe(blockKeys.length * exchange.card.blockTokens);
    });

    it("gives up a prefill that nobody wants any more", async () => {
      const { engine, exchange } = given();
      const stop = new AbortController();
      const prefill = exchange.prefill(request(prose("unwanted", 60)), new Set(), stop.signal);
      stop.abort();
      expect(await prefill).toMatchObject({ type: "failed" });
      expect(engine.load().running).toBe(0);
    });
  });
}
