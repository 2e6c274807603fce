/** Two real engines, one transfer between them: the same answer and logprobs as without. */
import { expect, test } from "vitest";
import type { EngineRequest, PreparedKv, Restore } from "../../gpu-backend/engine/engine.ts";
import { fetchPrefill, pullBlocks, transferAgent } from "../../gpu-backend/transfer/fetch.ts";
import { Sender } from "../../gpu-backend/transfer/send.ts";
import { TicketGate } from "../../gpu-backend/transfer/ticket-gate.ts";
import { complete, follow, prose, request, startDemo } from "./engine-runs.ts";
import { key, serveSender, ticketFor } from "./transfer-rig.ts";

test("prefilled elsewhere and pulled: text and logprobs are those of an engine alone", async () => {
  const [first, second] = await Promise.all([startDemo(), startDemo()]);
  const gate = new TicketGate();
  gate.welcome(key.toString("base64url"), Date.now(), Date.now());
  let asked: EngineRequest = request("");
  const sender = new Sender({
    exchange: first.kv.exchange,
    contextTokens: first.card.contextTokens,
    gate,
    source: null,
    request: () => Promise.resolve(asked),
  });
  const serving = await serveSender(sender);
  const dispatcher = transferAgent();
  const signal = new AbortController().signal;
  const link = (prepared: PreparedKv) => ({
    url: serving.url,
    card: second.kv.exchange.card,
    prepared,
    signal,
    dispatcher,
    expected: { msPerToken: 5, measured: true },
  });
  const answer = async (restore: Restore, prompt: string, changes: Partial<EngineRequest>) =>
    follow(await accepted(second, request(prompt, changes), restore));
  async function accepted(engine: typeof second, wanted: EngineRequest, restore: Restore) {
    const run = await engine.kv.exchange.import(wanted, restore);
    if (run.type === "refused") throw new Error(run.message);
    return run;
  }
  try {
    for (const [i, words] of [20, 60, 100].entries()) {
      const prompt = prose(`moved${i}`, words);
      const changes = { salt: `s${i}`, temperature: 0.8, seed: 7, logprobs: 3, maxTokens: 12 };
      const alone = await complete(second, prompt, { ...changes, salt: `alone${i}` });
      asked = request(prompt, changes);
      const prepared = await second.prepare(asked);
      if (prepared.type === "refused") throw new Error(prepared.message);
      const fetched = await fetchPrefill({
        ...link(prepared),
        ticket: ticketFor(),
        have: 0,
        api: "chat",
        historyBytes: 0,
        body: new Uint8Array(0),
      });
      if (!fetched.ok) throw new Error(fetched.why);
      expect(fetched.shortfall).toBeNull();
      const moved = await answer(fetched.restore, prompt, changes);
      expect(moved.finished.cachedTokens).toBeGreaterThanOrEqual(prepared.blockKeys.length * 32);
      expect([moved.text, moved.logprobs]).toEqual([alone.text, alone.logprobs]);
      const pulled = await pullBlocks({
        ...link(prepared),
        ticket: ticketFor({ kind: "pull", salt: `s${i}` }),
        from: 0,
        to: prepared.reusableBlocks,
      });
      expect(pulled).toMatchObject({ ok: true, shortfall: null });
      expect(pulled.ok && pulled.blocks.map(({ data }) => Buffer.from(data).toString("hex"))).toEqual(
        fetched.blocks.slice(0, prepared.reusableBlocks).map(({ data }) => Buffer.from(data).toString("hex")),
      );
    }
  } finally {
    await dispatcher.close();
    await serving.close();
    await Promise.all([first.close(), second.close()]);
  }
});
