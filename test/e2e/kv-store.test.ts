/** The store tier in the whole product, against a server that speaks the S3 API. */
import { rm } from "node:fs/promises";
import { afterEach, expect, test } from "vitest";
import { startStore, storeAt } from "../conformance/tier-store.ts";
import { cachedOf, chat, outcomeOf, promptOf } from "./kv-tools.ts";
import { type Life, startLife } from "./lives.ts";
import { metric, preparedStateDirectory, until } from "./started.ts";

let ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.toReversed()) await end().catch(() => undefined);
  ends = [];
});

const tierMetric = async ({ replicas: [replica] }: Life, name: string, tier: string): Promise<number> => {
  const text = await (await fetch(`${replica?.url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{.*tier="${tier}"\\} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
};

test("what a disk has no room for lies in the store, outlives the process, and is computed when the store is down", async () => {
  const store = await startStore();
  ends.push(() => store.close());
  const at = storeAt(store.endpoint);
  const state = await preparedStateDirectory();
  ends.push(() => rm(state, { recursive: true, force: true, maxRetries: 5 }));
  const variables = {
    WARMPATH_HOST_BYTES: "0",
    // Two blocks of 32 tokens; what belongs to which prompt is kept beside them.
    WARMPATH_DISK_BYTES: String(80 * 1024),
    WARMPATH_STORE_URL: at.endpoint,
    WARMPATH_STORE_BUCKET: at.bucket,
    WARMPATH_STORE_REGION: at.region,
    WARMPATH_STORE_KEY_ID: at.accessKeyId,
    WARMPATH_STORE_SECRET: at.secretAccessKey,
  };
  const live = async (): Promise<Life> => {
    const life = await startLife(state, variables);
    ends.push(() => life.stop());
    return life;
  };
  const first = await live();
  const prompts = [promptOf(81, 700), promptOf(82, 700)] as const;
  const cold = [await chat(first, prompts[0]), await chat(first, prompts[1])] as const;
  // What can be used again: whole blocks of 32 tokens, not the last two tokens. A token's KV is 1 KiB in the demo model.
  const tokens = cold.reduce((sum, { usage }) => sum + 32 * Math.floor((usage.prompt_tokens - 2) / 32), 0);
  await until("the blocks are in the store", async () => (await tierMetric(first, "warmpath_tier_used_bytes", "store")) > tokens * 1024);
  expect(await tierMetric(first, "warmpath_tier_used_bytes", "disk")).toBeLessThan(80 * 1024);
  await first.stop();

  const second = await live();
  await until("what lies there is known", async () => ((await metric(second, "warmpath_index_entries")) ?? 0) > 0);
  const again = await chat(second, prompts[0]);
  expect(again.text).toBe(cold[0].text);
  expect(again.predictedTokens).toBeGreaterThan(0.8 * again.usage.prompt_tokens);
  const { loadedTokens } = await outcomeOf(second, again.id);
  // How many depends on the machine: what a busy one computes sooner it does not load.
  expect(loadedTokens).toBeGreaterThan(0);
  expect(await tierMetric(second, "warmpath_tier_hits_total", "store")).toBeGreaterThan(0);

  await store.close();
  const computed = await chat(second, prompts[1]);
  expect(computed.text).toBe(cold[1].text);
  expect(cachedOf(computed)).toBeLessThan(0.1 * computed.usage.prompt_tokens);
  expect(await tierMetric(second, "warmpath_tier_errors_total", "store")).toBeGreaterThan(0);
}, 60_000);
