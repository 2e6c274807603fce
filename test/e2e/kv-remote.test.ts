/** A replica that only prefills, and two that decode: the answers are those of one replica that does both, whatever becomes of the first. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Message, streamChat } from "../bench/conversations.ts";
import { type Answer, cachedOf, chat, expectQuiet, outcomeOf, promptOf, withEnvironment } from "./kv-tools.ts";
import { pathOf } from "./load.ts";
import { familyOf, replicaPid } from "./processes.ts";
import { isAlive, metric, runningAt, type Started, type StartedReplica, startProduct, until } from "./started.ts";

const REMOTE_TOKENS = 600;

let together: Started;
let apart: Started;
let frozen: number[] = [];
beforeAll(async () => {
  const variables = { WARMPATH_REMOTE_PREFILL_TOKENS: String(REMOTE_TOKENS) };
  [together, apart] = await withEnvironment(variables, () =>
    Promise.all([startProduct({ replicas: 1 }), startProduct({ replicas: 3, extraArgs: ["--topology", "disaggregated"] })]),
  );
});
afterAll(async () => {
  await Promise.all([together?.stop(), apart?.stop()]);
});
afterEach(async () => {
  for (const pid of frozen) if (await isAlive(pid)) process.kill(pid, "SIGCONT");
  frozen = [];
});

const prefiller = (): StartedReplica => {
  const found = apart.replicas.find(({ name }) => name === "replica-1");
  if (found === undefined) throw new Error("There is no replica-1.");
  return found;
};

/** Long ones, and what a replica that does all itself answers; one after the other, as a client alone would see it. */
async function truths(seeds: readonly number[], words: number, maxTokens: number): Promise<Map<Message[], string>> {
  const truth = new Map<Message[], string>();
  for (const seed of seeds) {
    const prompt = promptOf(seed, words);
    truth.set(prompt, (await chat(together, prompt, { max_tokens: maxTokens })).text);
  }
  return truth;
}

test("a stream that is cancelled during the remote prefill frees both replicas", async () => {
  const stop = new AbortController();
  const body = JSON.stringify({ model: apart.model, messages: promptOf(31, 2_000), max_tokens: 500, stream: true });
  const ended = fetch(`${apart.url}/v1/chat/completions`, { method: "POST", headers: apart.headers, body, signal: stop.signal })
    .then((response) => response.text())
    .then(() => "whole")
    .catch(() => "cut");
  await until("it is prefilled elsewhere", async () => (await runningAt(prefiller())) > 0);
  expect(await metric(apart, "warmpath_leases")).toBe(2);
  stop.abort();
  expect(await ended).toBe("cut");
  await expectQuiet(apart);
});

test("a long cold prompt is prefilled by one replica and decoded by another, and nothing shows of that in the text", async () => {
  for (const more of [{}, { temperature: 1, seed: 7, max_tokens: 60 }]) {
    const prompt = promptOf(21 + Object.keys(more).length, 400);
    const expected = await chat(together, prompt, more);
    const answer = await chat(apart, prompt, more);
    expect(answer.status).toBe(200);
    expect(answer.usage.prompt_tokens).toBeGreaterThanOrEqual(REMOTE_TOKENS);
    expect(answer.text).toBe(expected.text);
    expect(answer.usage.completion_tokens).toBe(expected.usage.completion_tokens);
    expect(answer.replica).toMatch(/^replica-[23]$/);
    const { transfer } = await outcomeOf(apart, answer.id);
    expect(transfer).toMatchObject({ kind: "prefill", replica: "replica-1", outcome: "used" });
    expect(transfer?.tokens).toBeGreaterThanOrEqual(REMOTE_TOKENS);
  }
  await expectQuiet(apart);
});

/** Several long prompts at once; `harm` comes as soon as the prefilling replica is at work. */
async function underHarm(truth: Map<Message[], string>, harm: () => void): Promise<Answer[]> {
  const asked = [...truth.keys()].map((prompt) => chat(apart, prompt));
  await until("prompts are prefilled elsewhere", async () => (await runningAt(prefiller())) > 0);
  const harmedMs = performance.now();
  harm();
  const answers = await Promise.all(asked);
  expect(performance.now() - harmedMs).toBeLessThan(20_000);
  expect(answers.map(({ status, text }) => ({ status, text }))).toEqual([...truth.values()].map((text) => ({ status: 200, text })));
  return answers;
}

async function fallbacksOf(answers: readonly Answer[]): Promise<string[]> {
  const whys: string[] = [];
  for (const { id } of answers) {
    const { transfer } = await outcomeOf(apart, id);
    if (transfer?.outcome === "fallback") whys.push(transfer.why ?? "nothing said");
  }
  return whys;
}

test("the prefilling replica is frozen: who waits for it computes itself, and it is used again when it is back", async () => {
  const truth = await truths([41, 42, 43, 44], 1_200, 24);
  const answers = await underHarm(truth, () => {
    frozen = familyOf(prefiller().pid);
    for (const pid of frozen) process.kill(pid, "SIGSTOP");
  });
  const whys = await fallbacksOf(answers);
  expect(whys.length).toBeGreaterThan(0);
  expect(whys.filter((why) => why !== "stalled")).toEqual([]);
  for (const pid of frozen) process.kill(pid, "SIGCONT");
  frozen = [];
  await until("all are ready", async () => (await metric(apart, "warmpath_replicas_ready")) === 3, 5_000);
  await expectQuiet(apart);
});

test("the prefilling replica is killed: who waits for it computes itself, and it is used again when it is back", async () => {
  const truth = await truths([51, 52, 53, 54], 1_200, 24);
  const pid = replicaPid(apart, "replica-1") ?? 0;
  const answers = await underHarm(truth, () => process.kill(pid, "SIGKILL"));
  const whys = await fallbacksOf(answers);
  expect(whys.length).toBeGreaterThan(0);
  expect(whys.filter((why) => !["cut", "unreachable"].includes(why))).toEqual([]);
  await until("all are ready", async () => (await metric(apart, "warmpath_replicas_ready")) === 3, 10_000);
  await expectQuiet(apart, apart.replicas.slice(1));
  const prompt = promptOf(61, 400);
  const after = await chat(apart, prompt);
  expect(after.text).toBe((await chat(together, prompt)).text);
  expect((await outcomeOf(apart, after.id)).transfer).toMatchObject({ kind: "prefill", outcome: "used" });
  const again = await chat(apart, prompt);
  expect(again.text).toBe(after.text);
  expect(cachedOf(again)).toBeGreaterThanOrEqual(REMOTE_TOKENS);
});

test("the decoding replica is killed while it waits for the prefill: the other one decodes, and no lease is left", async () => {
  const truth = await truths([71], 1_200, 24);
  const [[prompt, text] = [[], ""]] = truth;
  let waits: string | undefined;
  const asked = streamChat(apart, prompt, { maxTokens: 24, onHeaders: (begun) => (waits = begun.replica) });
  await until("it waits for its prefill", async () => waits !== undefined && (await metric(apart, "warmpath_leases")) === 2);
  process.kill(replicaPid(apart, waits ?? "") ?? 0, "SIGKILL");
  const streamed = await asked;
  expect({ end: streamed.end, text: streamed.text, malformed: streamed.malformed }).toEqual({ end: "done", text, malformed: [] });
  expect(await pathOf(apart, streamed.id)).toEqual(waits === "replica-2" ? ["replica-2", "replica-3"] : ["replica-3", "replica-2"]);
  await until("all are ready", async () => (await metric(apart, "warmpath_replicas_ready")) === 3, 10_000);
  await expectQuiet(apart, []);
});
