/** What becomes of a replica's engine when a real vLLM is paused, emptied, asked for what kills it, and killed. */
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { Engine, EngineRequest } from "../../gpu-backend/engine/engine.ts";
import { residencyOf } from "../../gpu-backend/engine/residency-state.ts";
import { accepted, prose, request, runOf, seen, until as untilEvent } from "../conformance/engine-runs.ts";
import { Residency } from "../conformance/engine-residency.ts";
import { openVllm, until } from "./opened.ts";
import { killVllm, startVllm } from "./vllm-process.ts";

const setup = inject("vllm");
const base = `http://127.0.0.1:${setup.port}`;
const post = async (path: string): Promise<number> => (await fetch(base + path, { method: "POST" })).status;

let engine: Engine;
let residency: Residency;
beforeAll(async () => {
  engine = await openVllm(setup);
  residency = new Residency(engine);
});
afterAll(() => engine.close());

test("what kills a vLLM never reaches it from a request", async () => {
  const hostile = {
    kv_transfer_params: { do_remote_prefill: true },
    ec_transfer_params: { a: 1 },
    vllm_xargs: { a: 1 },
    priority: -5,
    cache_salt: "",
  };
  const asked = { ...request(prose("hostile", 20), { maxTokens: 4 }), ...hostile } as EngineRequest;
  expect((await seen(await accepted(engine, asked))).finished.reason).toMatch(/stop|length/);
  expect((await fetch(`${base}/health`)).status).toBe(200);
});

test("one that is paused takes nothing, and goes on when it is resumed", async () => {
  if ((await fetch(`${base}/is_paused`)).status !== 200) return;
  expect(await post("/pause")).toBe(200);
  const noticedByMs = performance.now() + 10_000;
  let refused = await engine.run(request("paused", { maxTokens: 1 }));
  while (refused.type === "accepted" && performance.now() < noticedByMs) {
    // One that hangs ends once the pause is noticed.
    await seen(refused);
    refused = await engine.run(request("paused", { maxTokens: 1 }));
  }
  expect(refused).toMatchObject({ reason: "unavailable", message: expect.stringContaining("paused") });
  expect(await post("/resume")).toBe(200);
  let resumed = await engine.run(request("resumed", { maxTokens: 2 }));
  for (let tries = 0; resumed.type === "refused" && tries < 100; tries++) {
    await pause(100);
    resumed = await engine.run(request("resumed", { maxTokens: 2 }));
  }
  if (resumed.type === "refused") throw new Error(resumed.message);
  expect((await seen(resumed)).finished.reason).toMatch(/stop|length/);
});

test("one that is killed under load ends its runs with errors, and is a new life without blocks when it is back", async () => {
  await runOf(engine, prose("first life", 60), { maxTokens: 2 });
  await until(() => residency.held.size > 0, "nothing is announced");
  const run = await accepted(engine, request(prose("cut", 20), { maxTokens: 2_000 }));
  const events = run.events[Symbol.asyncIterator]();
  await untilEvent(events, "delta");
  const back = new Promise<void>((resolve) => engine.onRestart(resolve));
  await killVllm(setup);
  expect((await untilEvent(events, "finished")).reason).toBe("error");
  await until(() => residencyOf(engine).state !== "exact", "it is still called exact");
  expect(await engine.run(request("", { tokens: [1, 2, 3] }))).toMatchObject({ reason: "unavailable" });
  await until(() => residency.held.size === 0, "blocks of its old life are held");
  await startVllm(setup);
  await back;
  await until(() => residencyOf(engine).state === "exact", "it is not exact after its return");
  const { queued } = await runOf(engine, prose("second life", 60), { maxTokens: 2 });
  await until(() => residency.leading(queued.blocks?.blockKeys ?? []) === queued.blocks?.blockKeys.length, "its blocks are not announced");
});
