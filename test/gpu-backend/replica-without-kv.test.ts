/** A replica whose engine has no KV part: what it says of itself, and what it refuses. */
import { expect, test } from "vitest";
import type { ReplicaConfig } from "../../gpu-backend/config.ts";
import type { EngineKv } from "../../gpu-backend/engine/engine.ts";
import { helloOf } from "../../gpu-backend/hello.ts";
import { replicaMetricsText } from "../../gpu-backend/metrics.ts";
import { Prompts } from "../../gpu-backend/prompts.ts";
import { Replica } from "../../gpu-backend/replica.ts";
import { transferAgent } from "../../gpu-backend/transfer/fetch.ts";
import { PlainEngine } from "../conformance/plain-engine.ts";
import { fetchFor, makeSender, prose, pullFor, serveSender } from "./transfer-rig.ts";

const engine = new PlainEngine({ sequences: 2, queueLimit: 2, contextTokens: 1_024 });

const config: ReplicaConfig = {
  join: "ws://127.0.0.1:9/announce/p",
  joinToken: "",
  pool: "p",
  name: "plain",
  url: null,
  host: "127.0.0.1",
  port: 0,
  roles: ["prefill", "decode"],
  machine: null,
  drainMs: 0,
  tiers: { hostBytes: 1_000_000, disk: null, store: null },
};

test("says in its hello that it transfers nothing, and that its residency is predicted unless the engine knows its blocks", () => {
  const prompts = Prompts.of(engine.card);
  if (!(prompts instanceof Prompts)) throw new Error(prompts.message);
  expect(prompts.exact).toBe(true);
  const said = (kv: EngineKv | null) => helloOf(config, { card: engine.card, kv }, prompts, "http://127.0.0.1:1", 1);
  expect(said(engine.kv)).toMatchObject({ transfers: false, anchors: "predicted" });
  expect(said({ onResidency: () => undefined, exchange: null })).toMatchObject({ transfers: false, anchors: "exact" });
});

test("can't be one that only prefills, and says so at its start", async () => {
  const created = await Replica.create(engine, { ...config, roles: ["prefill"] });
  expect(created).toEqual({ message: expect.stringContaining("can't have the role prefill alone (WARMPATH_ROLES)") });
});

test("opens no tier, counts no transfer and is closed", async () => {
  const replica = await Replica.create(engine, config);
  if (!(replica instanceof Replica)) throw new Error(replica.message);
  expect(replica.counts).toMatchObject({ tiers: null, transfers: [], running: 0 });
  const metrics = replicaMetricsText("plain", replica.counts);
  for (const [state, value] of [
    ["exact", 0],
    ["degraded", 0],
    ["predicted", 1],
  ] as const) {
    expect(metrics).toContain(`warmpath_engine_residency{replica="plain",state="${state}"} ${value}\n`);
  }
  await replica.close();
});

test("a peer that asks for its blocks, or for a prefill, is refused", async () => {
  const steps: string[] = [];
  const sender = makeSender(null, null, {}, (step) => steps.push(step.event === "ended" ? `ended ${step.outcome}` : step.event));
  const serving = await serveSender(sender);
  const dispatcher = transferAgent();
  const ask = { url: serving.url, prompt: prose(16 * 20 + 5), dispatcher };
  try {
    expect(await fetchFor(ask)).toMatchObject({ ok: false, why: "refused" });
    expect(await pullFor(ask, 0, 20)).toMatchObject({ ok: false, why: "refused" });
    expect(steps).toEqual(["started", "ended refused", "started", "ended refused"]);
    expect(sender.load).toMatchObject({ prefills: 0, pulls: 0, promised: 0 });
  } finally {
    await dispatcher.close();
    await serving.close();
  }
});
