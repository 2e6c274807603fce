/** KV that is not finite, from a peer, the disk and the store, under good seals and checks: refused, counted, and nobody's answer is another. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { request as undiciRequest } from "undici";
import { sealBlock, type SealedBlock } from "../../gpu-backend/blocks/block.ts";
import { createStoreTier } from "../../gpu-backend/blocks/store-tier.ts";
import type { TierName } from "../../gpu-backend/blocks/tier.ts";
import type { TierConfig } from "../../gpu-backend/config.ts";
import type { EngineKey, EngineRequest, PreparedKv } from "../../gpu-backend/engine/engine.ts";
import { again, kvPrepare, kvPrompt, kvRequest } from "../conformance/engine-kv.ts";
import { startStore, type StartedStore, storeAt } from "../conformance/tier-store.ts";
import { prose } from "./engine-runs.ts";
import { type Answered, type KvNode, sourceAt, startNode } from "./kv-node.ts";
import { poisonedStream } from "./poisoned-stream.ts";
import { serve, type Serving } from "./transfer-rig.ts";

const MIB = 1024 * 1024;
/** Of two sequences: what stayed in a cell would meet the first of them. */
const OTHERS = 24;
const root = mkdtempSync(join(tmpdir(), "warmpath-hostile-"));
const directory = join(root, "blocks");
let store: StartedStore;
let tiers: TierConfig;
/** Never meets anything bad. */
let clean: KvNode;
let victim: KvNode;
let puller: KvNode;
let peer: Serving;

/** An honest sender's stream, its check and all, but the KV is 0xff. */
async function hostilePeer(): Promise<Serving> {
  return serve((incoming, response) => {
    response.on("error", () => undefined);
    const parts: Buffer[] = [];
    incoming.on("data", (part: Buffer) => parts.push(part));
    incoming.on("end", () => {
      void poisoned(Buffer.concat(parts), incoming.url ?? "", incoming.headers).then((bytes) => response.end(bytes));
    });
  });
}

async function poisoned(body: Buffer, path: string, headers: NodeJS.Dict<string | string[]>): Promise<Buffer> {
  const ticket = String(headers["x-warmpath-ticket"]);
  const { url } = clean.source("pull", "");
  const passed = Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("x-warmpath")));
  const answer = await undiciRequest(new URL(path, url), { method: "POST", headers: passed as Record<string, string>, body });
  return poisonedStream(new Uint8Array(await answer.body.arrayBuffer()), ticket, String(headers["x-warmpath-trial"]));
}

beforeAll(async () => {
  store = await startStore();
  tiers = {
    hostBytes: 64 * MIB,
    disk: { directory, budgetBytes: 64 * MIB },
    store: { ...storeAt(store.endpoint), prefix: "shared", budgetBytes: 64 * MIB },
  };
  [clean, victim, puller] = await Promise.all([
    startNode({ hostBytes: 64 * MIB }),
    startNode(tiers, { sequences: 2 }),
    startNode({ hostBytes: 16 * MIB }, { sequences: 2 }),
  ]);
  peer = await hostilePeer();
});
afterAll(async () => {
  await Promise.all([clean.close(), victim.close(), puller.close()]);
  await peer.close();
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const said = ({ text, logprobs, reason }: Answered) => ({ text, logprobs, reason });

/** The prompt's blocks as somebody who can write there would: sealed, under their keys, with `change`d contents. */
function sealedOf(
  { blockKeys, tokens, reusableBlocks }: PreparedKv,
  change: (tokens: Uint32Array, data: Uint8Array) => void,
): SealedBlock[] {
  const { kvSpace, kvTokenBytes, blockTokens } = victim.engine.kv.exchange.card;
  return blockKeys.slice(0, reusableBlocks).map((key, at) => {
    const own = tokens.slice(at * blockTokens, (at + 1) * blockTokens);
    const data = new Uint8Array(blockTokens * kvTokenBytes);
    change(own, data);
    return sealBlock({ key, tokens: own, data }, { parent: blockKeys[at - 1] ?? null, kvSpace, kvTokenBytes });
  });
}

const damaged = (tier: TierName) => victim.stack.tiers.find(({ name }) => name === tier)?.counters.damaged;

function onDisk(blocks: readonly SealedBlock[]): void {
  for (const { key, bytes } of blocks) {
    mkdirSync(join(directory, key.slice(0, 2)), { recursive: true });
    writeFileSync(join(directory, key.slice(0, 2), key), bytes);
  }
}

async function inStore(blocks: readonly SealedBlock[]): Promise<void> {
  if (tiers.store === null) return;
  const writer = createStoreTier({ ...tiers.store, kvSpace: victim.engine.kv.exchange.card.kvSpace, now: Date.now });
  for (const block of blocks) expect(await writer.put(block)).toBe("stored");
  await writer.close();
}

async function restart(given: TierConfig = tiers): Promise<void> {
  await victim.close();
  victim = await startNode(given, { sequences: 2 });
}

async function aPrompt(topic: string): Promise<{ asked: EngineRequest; cold: Answered; prepared: PreparedKv }> {
  const asked = kvRequest(await kvPrompt(clean.engine, 300, topic), { maxTokens: 8 });
  const cold = await clean.answer({ ...again(asked), salt: `${topic} cold` }, { load: false });
  return { asked, cold, prepared: await kvPrepare(victim.engine, asked) };
}

const NAN = (_tokens: Uint32Array, data: Uint8Array): void => void data.fill(0xff);

it("refuses it from a peer, a disk and a store, counts each, and answers as if it had not come", async () => {
  const fromPeer = await aPrompt("peer");
  await clean.answer(again(fromPeer.asked));
  const pull = sourceAt(peer.url, "pull", fromPeer.asked.salt);
  const answer = await victim.answer(again(fromPeer.asked), { pull });
  expect(said(answer)).toEqual(said(fromPeer.cold));
  expect(answer.cachedTokens).toBe(0);
  expect(answer.supplied.transfer).toMatchObject({ kind: "pull", outcome: "fallback", why: "not_finite" });
  expect(victim.supply.transfers.all()).toEqual([{ kind: "pull", peer: "peer", outcome: "not_finite", count: 1 }]);

  const [fromDisk, fromStore] = [await aPrompt("disk"), await aPrompt("store")];
  await victim.close();
  onDisk(sealedOf(fromDisk.prepared, NAN));
  await inStore(sealedOf(fromStore.prepared, NAN));
  victim = await startNode(tiers, { sequences: 2 });
  const first = (prompt: typeof fromDisk): EngineKey => prompt.prepared.blockKeys[0] ?? ("" as EngineKey);
  expect([victim.stack.bitsOf(first(fromDisk)), victim.stack.bitsOf(first(fromStore))]).toEqual([4, 8]);
  for (const { asked, cold } of [fromDisk, fromStore]) {
    const again1 = await victim.answer(again(asked));
    expect([said(again1), again1.cachedTokens]).toEqual([said(cold), 0]);
  }
  // The first of the chain at least; what follows it is of no use then.
  expect(damaged("disk")?.not_finite).toBeGreaterThanOrEqual(1);
  expect(damaged("store")?.not_finite).toBeGreaterThanOrEqual(1);
  expect(victim.engine.faults).toEqual({ restores: 0, notFinite: 0 });
});

it("leaves the next prompts of other salts as they are cold: there, on a replica that pulls them, and after a restart", async () => {
  const asked = Array.from({ length: OTHERS }, (_, n) => kvRequest(prose(`other${n}`, 8 + ((n * 37) % 17)), { maxTokens: 6 }));
  const colds: Answered[] = [];
  for (const request of asked) colds.push(await clean.answer({ ...again(request), salt: `${request.salt} cold` }, { load: false }));
  // The store has said what it had to; without it this takes a quarter of the time.
  const without = { ...tiers, store: null };
  await restart(without);
  const wrong = { there: 0, pulled: 0, restarted: 0 };
  let moved = 0;
  for (const [n, request] of asked.entries()) {
    const right = JSON.stringify(colds[n] && said(colds[n]));
    if (JSON.stringify(said(await victim.answer(again(request)))) !== right) wrong.there++;
    const pulled = await puller.answer(again(request), { pull: victim.source("pull", request.salt) });
    if (JSON.stringify(said(pulled)) !== right) wrong.pulled++;
    moved += pulled.supplied.transfer?.tokens ?? 0;
  }
  await restart(without);
  let loaded = 0;
  for (const [n, request] of asked.entries()) {
    const back = await victim.answer(again(request));
    if (JSON.stringify(said(back)) !== JSON.stringify(colds[n] && said(colds[n]))) wrong.restarted++;
    loaded += back.supplied.loadedTokens;
  }
  expect(wrong).toEqual({ there: 0, pulled: 0, restarted: 0 });
  // It was not simply computed anew.
  const all = colds.reduce((sum, { prepared }) => sum + 32 * prepared.reusableBlocks, 0);
  expect(moved).toBeGreaterThan(0.5 * all);
  expect(loaded).toBeGreaterThan(0.5 * all);
}, 180_000);

it("forgets a sealed block with the wrong tokens, in whichever tier, and is warm the next time", async () => {
  const [fromDisk, fromStore] = [await aPrompt("wrong on disk"), await aPrompt("wrong in store")];
  const another = (tokens: Uint32Array): void => void (tokens[3] = (tokens[3] ?? 0) ^ 1);
  await victim.close();
  onDisk(sealedOf(fromDisk.prepared, another));
  await inStore(sealedOf(fromStore.prepared, another));
  victim = await startNode(tiers, { sequences: 2 });
  for (const { asked, cold } of [fromDisk, fromStore]) expect(said(await victim.answer(again(asked)))).toEqual(said(cold));
  expect(damaged("disk")?.tokens).toBeGreaterThanOrEqual(1);
  expect(damaged("store")?.tokens).toBeGreaterThanOrEqual(1);
  await restart();
  for (const { asked, cold, prepared } of [fromDisk, fromStore]) {
    const warm = await victim.answer(again(asked));
    expect(said(warm)).toEqual(said(cold));
    expect(warm.supplied.loadedTokens).toBe(32 * prepared.reusableBlocks);
  }
});
