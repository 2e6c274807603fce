/** KV that rests below the device: it outlives its place there, and its process; peers give theirs; and what callers may ask to be kept. */
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import type { Message, Target } from "../bench/conversations.ts";
import { type Answer, cachedOf, chat, expectQuiet, outcomeOf, promptOf, withEnvironment } from "./kv-tools.ts";
import { type Life, startLife } from "./lives.ts";
import { familyOf } from "./processes.ts";
import { metric, preparedStateDirectory, type Started, type StartedOptions, startProduct, until } from "./started.ts";

const MEBI = 1024 * 1024;
/** About 780 tokens of 1 KiB each, chat template and all. */
const WORDS = 350;
/** A replica whose device has room for two prompts, and its memory for seven. */
const SMALL: [Record<string, string>, StartedOptions] = [
  { WARMPATH_HOST_BYTES: String(6 * MEBI), WARMPATH_DISK_BYTES: "0" },
  { replicas: 1, sequences: 2, contextTokens: 1_024 },
];

let products: Pick<Started, "stop">[] = [];
let frozen: number[] = [];

function thaw(): void {
  for (const pid of frozen) process.kill(pid, "SIGCONT");
  frozen = [];
}

afterEach(async () => {
  thaw();
  await Promise.all(products.map((product) => product.stop()));
  products = [];
});

/** Tests that ask for the same share it. */
const started = new Map<string, Promise<Started>>();
afterAll(async () => {
  await Promise.all([...started.values()].map(async (product) => (await product).stop()));
});

function start(variables: Record<string, string>, options: StartedOptions): Promise<Started> {
  const name = JSON.stringify([variables, options]);
  let product = started.get(name);
  if (product === undefined) started.set(name, (product = withEnvironment(variables, () => startProduct(options))));
  return product;
}

/** A product on a state directory that stays, ended with its test. */
async function live(stateDirectory: string, variables: Record<string, string>): Promise<Life> {
  const life = await startLife(stateDirectory, variables);
  products.push(life);
  return life;
}

function filesBelow(directory: string): string[] {
  try {
    const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
    return names.map((name) => join(directory, name)).filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
  } catch {
    // Not there yet, or changing under our hands.
    return [];
  }
}

const bytesBelow = (directory: string): number =>
  filesBelow(directory).reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);

/** What `prompts` are answered, in turn. */
async function inTurn(target: Target, prompts: readonly Message[][]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const prompt of prompts) answers.push(await chat(target, prompt));
  return answers;
}

/** What can be used again of these: whole blocks of 32 tokens, not the last two tokens. A token's KV is 1 KiB in the demo model. */
const keptBytes = (answers: readonly Answer[]): number =>
  answers.reduce((sum, { usage }) => sum + 1_024 * 32 * Math.floor((usage.prompt_tokens - 2) / 32), 0);

test("what lies on disk outlives the processes: predicted, restored, the same text; what is damaged there is computed again", async () => {
  const state = await preparedStateDirectory();
  products.push({ stop: () => rm(state, { recursive: true, force: true, maxRetries: 5 }) });
  const disk = { WARMPATH_HOST_BYTES: "0", WARMPATH_DISK_BYTES: String(256 * MEBI) };
  const first = await live(state, disk);
  const prompts = [71, 72].map((seed) => promptOf(seed, WORDS));
  const cold = await inTurn(first, prompts);
  const blocks = join(state, "blocks");
  await until("the blocks are on disk", () => bytesBelow(blocks) > keptBytes(cold));
  const whole = new Set(filesBelow(blocks));
  const spoilt = promptOf(73, WORDS);
  const coldSpoilt = await chat(first, spoilt);
  expect([...cold, coldSpoilt].map(cachedOf)).toEqual([0, 0, 0]);
  await until("its blocks are, too", () => bytesBelow(blocks) > keptBytes([...cold, coldSpoilt]));
  await first.stop();

  let damaged = 0;
  for (const file of filesBelow(blocks)) {
    const { size } = statSync(file);
    if (size < 4_096 || whole.has(file)) continue;
    const bytes = readFileSync(file);
    // In the middle of every fourth KiB, and the end is missing.
    for (let at = 2_048; at < size; at += 4_096) bytes[at] = (bytes[at] ?? 0) ^ 0x55;
    writeFileSync(file, bytes.subarray(0, size - 100));
    damaged++;
  }
  expect(damaged).toBeGreaterThan(10);

  const second = await live(state, disk);
  // Nobody has asked for it yet.
  await until("what lies there is known", async () => ((await metric(second, "warmpath_index_entries")) ?? 0) > 0);
  for (const [index, prompt] of prompts.entries()) {
    const again = await chat(second, prompt);
    const before = cold[index];
    expect(again.text).toBe(before?.text);
    expect(again.predictedTokens).toBeGreaterThan(0);
    expect(cachedOf(again)).toBeGreaterThan(0.9 * again.usage.prompt_tokens);
    const { loadedTokens, cachedTokens } = await outcomeOf(second, again.id);
    expect(loadedTokens).toBeGreaterThan(0.9 * again.usage.prompt_tokens);
    expect(cachedTokens).toBe(cachedOf(again));
  }
  const again = await chat(second, spoilt);
  expect({ status: again.status, text: again.text }).toEqual({ status: 200, text: coldSpoilt.text });
  expect(cachedOf(again)).toBeLessThan(0.5 * again.usage.prompt_tokens);
  await until("no lease is left", async () => (await metric(second, "warmpath_leases")) === 0);
});

test("what the device had to let go comes back from memory, with the same text", async () => {
  const product = await start(...SMALL);
  const prompts = [81, 82, 83, 84, 85, 86].map((seed) => promptOf(seed, WORDS));
  const cold = await inTurn(product, prompts);
  expect(cold.map(cachedOf)).toEqual(prompts.map(() => 0));
  const again = await chat(product, prompts[0] ?? []);
  expect(again.text).toBe(cold[0]?.text);
  expect(cachedOf(again)).toBeGreaterThan(0.9 * again.usage.prompt_tokens);
  expect(again.predictedTokens).toBeGreaterThan(0);
  expect((await outcomeOf(product, again.id)).loadedTokens).toBeGreaterThan(0.9 * again.usage.prompt_tokens);
  await expectQuiet(product);
});

test("a peer gives what it holds to the replica that serves, with the same text", async () => {
  const product = await start({}, { replicas: 2, profile: "round-robin" });
  const prompt = promptOf(91, WORDS);
  const cold = await chat(product, prompt);
  const pulled = await chat(product, prompt);
  expect(pulled.replica).not.toBe(cold.replica);
  expect(pulled.text).toBe(cold.text);
  expect(cachedOf(pulled)).toBeGreaterThan(0.9 * pulled.usage.prompt_tokens);
  expect(pulled.predictedTokens).toBeGreaterThan(0);
  const { transfer } = await outcomeOf(product, pulled.id);
  expect(transfer).toMatchObject({ kind: "pull", replica: cold.replica, outcome: "used" });
  expect(transfer?.tokens).toBeGreaterThan(0.9 * pulled.usage.prompt_tokens);
  await expectQuiet(product);
});

test("a peer that is frozen gives nothing: the replica that serves gives it up and computes itself", async () => {
  const product = await start({}, { replicas: 2, profile: "round-robin" });
  const prompt = promptOf(92, WORDS);
  const cold = await chat(product, prompt);
  const holder = product.replicas.find(({ name }) => name === cold.replica);
  frozen = familyOf(holder?.pid ?? 0);
  for (const pid of frozen) process.kill(pid, "SIGSTOP");
  const answer = await chat(product, prompt);
  thaw();
  expect(answer.replica).not.toBe(cold.replica);
  expect(answer).toMatchObject({ status: 200, text: cold.text });
  expect(cachedOf(answer)).toBe(0);
  expect((await outcomeOf(product, answer.id)).transfer).toMatchObject({
    kind: "pull",
    outcome: "fallback",
    why: expect.stringMatching(/^(stalled|timeout)$/),
    tokens: 0,
  });
  await until("both are ready", async () => (await metric(product, "warmpath_replicas_ready")) === 2, 5_000);
  await expectQuiet(product);
});

test("a pinned prompt stays in memory that others fill: they go first", async () => {
  const product = await start(...SMALL);
  const pinned = promptOf(101, WORDS);
  const cold = await chat(product, pinned, {}, { "x-warmpath-pin": "10m" });
  const others = Array.from({ length: 10 }, (_, index) => promptOf(110 + index, WORDS));
  const colds = await inTurn(product, others);
  const again = await chat(product, pinned);
  expect(again.text).toBe(cold.text);
  expect(cachedOf(again)).toBeGreaterThan(0.9 * again.usage.prompt_tokens);
  const early = await chat(product, others[0] ?? []);
  expect(early.text).toBe(colds[0]?.text);
  expect(cachedOf(early)).toBe(0);
});

/** A tenant of the product's deployment: its prompts have a salt of their own. */
function tenant(product: Started, name: string): Target {
  const deployment = readFileSync(join(product.stateDirectory, "secret"), "utf8").trim();
  const mac = (text: string): Buffer => createHmac("sha256", deployment).update(text).digest();
  const headers = { ...product.headers, authorization: `Bearer ${formatKey({ tenant: name, keyId: "1" }, "0123456789abcdef", mac)}` };
  return { url: product.url, model: product.model, headers };
}

async function hostBytes({ replicas: [replica] }: Started, what: "budget" | "pinned"): Promise<number> {
  const text = await (await fetch(`${replica?.url}/metrics`)).text();
  return Number(new RegExp(`^warmpath_tier_${what}_bytes\\{.*tier="host"\\} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

test("four tenants that pin all they can take half of a tier at most: everybody else's prompts stay warm", async () => {
  const product = await start(...SMALL);
  // More than all of the tier.
  for (const [index, name] of ["pins1", "pins2", "pins3", "pins4"].entries()) {
    for (const seed of [130, 131].map((first) => first + 2 * index)) {
      expect((await chat(tenant(product, name), promptOf(seed, WORDS), {}, { "x-warmpath-pin": "1h" })).status).toBe(200);
    }
  }
  const budget = await hostBytes(product, "budget");
  const pinned = await until("pins are counted", async () => {
    const bytes = await hostBytes(product, "pinned");
    return bytes > 0.3 * budget && bytes;
  });
  expect(pinned).toBeLessThanOrEqual(0.5 * budget);
  // One more than the device has room for, in turn: what is warm comes from memory.
  const everybody = tenant(product, "everybody");
  const prompts = [140, 141, 142].map((seed) => promptOf(seed, WORDS));
  const cold = await inTurn(everybody, prompts);
  expect(cold.map(cachedOf)).toEqual([0, 0, 0]);
  const warm = await inTurn(everybody, prompts);
  expect(warm.map(({ text }) => text)).toEqual(cold.map(({ text }) => text));
  for (const answer of warm) expect(cachedOf(answer) / answer.usage.prompt_tokens).toBeGreaterThan(0.9);
  expect(await hostBytes(product, "pinned")).toBeLessThanOrEqual(0.5 * budget);
  await expectQuiet(product);
});

test("prewarm and pins", async () => {
  const product = await start({}, { replicas: 2 });
  const prompt = promptOf(95, WORDS);
  const body = JSON.stringify({ model: product.model, messages: prompt });
  const warmed = await fetch(`${product.url}/v1/prewarm`, { method: "POST", headers: product.headers, body });
  expect(warmed.status).toBe(200);
  const said = (await warmed.json()) as { object: string; prompt_tokens: number; cached_tokens: number; replica: string };
  expect(said).toMatchObject({ object: "prewarm", cached_tokens: 0 });
  const warm = await chat(product, prompt);
  expect(warm.replica).toBe(said.replica);
  expect(warm.predictedTokens).toBeGreaterThan(0);
  expect(warm.usage.prompt_tokens).toBe(said.prompt_tokens);
  expect(cachedOf(warm)).toBeGreaterThan(0.9 * said.prompt_tokens);

  for (const pin of ["", "soon", "0s", "2h", "-5m", "90"]) {
    const refused = await chat(product, prompt, {}, { "x-warmpath-pin": pin });
    expect(refused.status, pin).toBe(400);
    expect(`${refused.error?.param} ${refused.error?.message}`, pin).toContain("x-warmpath-pin");
  }
  for (const pin of ["90s", "15m", "1h"]) {
    const pinned = await chat(product, prompt, {}, { "x-warmpath-pin": pin });
    expect(pinned.status, pin).toBe(200);
    expect(pinned.text, pin).toBe(warm.text);
  }
  for (const ttl of ["5m", "1h"]) {
    const content = [{ type: "text", text: prompt[0]?.content, cache_control: { type: "ephemeral", ttl } }];
    const response = await fetch(`${product.url}/v1/messages`, {
      method: "POST",
      headers: { ...product.headers, "anthropic-version": "2023-06-01" },
      body: JSON.stringify({ model: product.model, max_tokens: 8, temperature: 0, messages: [{ role: "user", content }] }),
    });
    expect(response.status, ttl).toBe(200);
    expect(await response.json()).toMatchObject({ type: "message", stop_reason: "max_tokens" });
  }
  await expectQuiet(product);
});
