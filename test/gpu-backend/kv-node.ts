/** A replica below its HTTP API: real engine, tiers, supply and sender, for tests of where KV comes from. */
import { Sender } from "../../gpu-backend/transfer/send.ts";
import { TicketGate } from "../../gpu-backend/transfer/ticket-gate.ts";
import type { TierStack } from "../../gpu-backend/blocks/tier-stack.ts";
import type { TierConfig } from "../../gpu-backend/config.ts";
import type { EngineRequest, PreparedKv } from "../../gpu-backend/engine/engine.ts";
import type { LlamaEngine, LlamaEngineOptions } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { KvSupply, type Supplied, type SupplyOrder } from "../../gpu-backend/kv-supply.ts";
import { openTiers } from "../../gpu-backend/open-tiers.ts";
import { encodeSource, parseSource, type Source } from "../../src/wire/ticket.ts";
import { kvFollow, kvPrepare, type KvAnswer } from "../conformance/engine-kv.ts";
import { startDemo } from "./engine-runs.ts";
import { key, serveSender, type Serving, ticketFor } from "./transfer-rig.ts";

export interface Answered extends KvAnswer {
  supplied: Supplied;
  prepared: PreparedKv;
}

export interface KvNode {
  engine: LlamaEngine;
  stack: TierStack;
  supply: KvSupply;
  sender: Sender;
  /** A place to get blocks or prompts of this salt from, as the edge would name it. */
  source(kind: "prefill" | "pull", salt: string): Source;
  /** What a prefill for another replica computes, whatever its body says. */
  forOthers: EngineRequest | null;
  /** As a replica answers it: what its tiers or the order give, the rest computed, the blocks kept. */
  answer(request: EngineRequest, order?: Partial<SupplyOrder>): Promise<Answered>;
  close(): Promise<void>;
}

/** What is loaded is looked at here, and not how long a busy machine takes for it. */
const LOAD_MS = 60_000;
const NO_TIERS: TierConfig = { hostBytes: 0, disk: null, store: null };

export function sourceAt(url: string, kind: "prefill" | "pull", salt: string): Source {
  const source = { replica: "peer", url, ticket: ticketFor({ kind, salt }) };
  return parseSource(encodeSource(source)) ?? source;
}

export async function startNode(tiers: Partial<TierConfig>, options: Partial<LlamaEngineOptions> = {}): Promise<KvNode> {
  const engine = await startDemo({ queueLimit: 16, ...options });
  const { exchange } = engine.kv;
  let supply: KvSupply | null = null;
  const opened = await openTiers({ ...NO_TIERS, ...tiers }, exchange.card, (blockKey, bits) => {
    if (bits !== 0) supply?.arrived(blockKey);
  });
  if (opened === null) throw new Error("a node needs a tier");
  await opened.listed;
  const { stack } = opened;
  const ready = (supply = new KvSupply(exchange, stack, LOAD_MS));
  const gate = new TicketGate();
  gate.welcome(key.toString("base64url"), Date.now(), Date.now());
  const sender = new Sender({
    exchange,
    contextTokens: engine.card.contextTokens,
    gate,
    source: ready.source,
    request: () => Promise.resolve(node.forOthers),
  });
  const serving: Serving = await serveSender(sender);
  const node: KvNode = {
    engine,
    stack,
    supply: ready,
    sender,
    forOthers: null,
    source: (kind, salt) => sourceAt(serving.url, kind, salt),
    async answer(request, order = {}) {
      const prepared = await kvPrepare(engine, request);
      const nothing: SupplyOrder = { prefill: null, pull: null, load: true, api: "chat", historyBytes: 0, body: new Uint8Array() };
      const supplied = await ready.supply(prepared, { ...nothing, ...order }, new AbortController().signal);
      const { restore } = supplied;
      const run = await (restore === undefined ? engine.run(request) : exchange.import(request, restore));
      if (run.type === "refused") throw new Error(run.message);
      const answer = await kvFollow(run);
      await ready.keep(prepared, null);
      await stack.idle();
      return { ...answer, supplied, prepared };
    },
    async close() {
      sender.close();
      await serving.close();
      await ready.close();
      await engine.close();
    },
  };
  return node;
}
