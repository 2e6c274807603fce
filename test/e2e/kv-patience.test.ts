/**
 * A prefill elsewhere whose engine gets a moment of its processor only now and then: waited for while it goes on, given up when it only lives. In real processes.
 * WARMPATH_SLOW_PREFILL_S: how long it is slowed (default 3 s); from 30 s on, the figures are kept as a result.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { cpuMs, round } from "../bench/edge/cpu.ts";
import { writeResult } from "../bench/result.ts";
import { type Answer, chat, expectQuiet, outcomeOf, promptOf, type Transfer, withEnvironment } from "./kv-tools.ts";
import { pathOf } from "./load.ts";
import { familyOf } from "./processes.ts";
import { isAlive, runningAt, type Started, type StartedReplica, startProduct, until } from "./started.ts";

const SLOW_MS = 1_000 * Number(process.env.WARMPATH_SLOW_PREFILL_S ?? 3);
const KEPT_FROM_MS = 30_000;
/** The engine runs for so much of its processor's time, then stands still; a step is at most a few of these. */
const RUN_MS = 100;
const STAND_MS = Math.min(2_000, SLOW_MS / 6);
const WORDS = SLOW_MS < KEPT_FROM_MS ? 1_000 : 2_500;
/** What a receiver guesses a token to take before it has measured any. */
const GUESS_MS_PER_TOKEN = 0.1;
const SLACK_MS = 3_000;

let product: Started;
let engine = 0;

const replicaOf = (name: string): StartedReplica => {
  const found = product.replicas.find((replica) => replica.name === name);
  if (found === undefined) throw new Error(`There is no ${name}.`);
  return found;
};

beforeAll(async () => {
  product = await withEnvironment({ WARMPATH_REMOTE_PREFILL_TOKENS: "600" }, () =>
    startProduct({ replicas: 2, extraArgs: ["--topology", "disaggregated"] }),
  );
  // Only the engine: its replica's own process answers and pulses as ever.
  engine = familyOf(replicaOf("replica-1").pid)[1] ?? 0;
});
afterEach(async () => {
  if (await isAlive(engine)) process.kill(engine, "SIGCONT");
});
afterAll(() => product?.stop());

/** Slows the engine for SLOW_MS from when it begins to compute. */
async function slowed(answer: Promise<Answer>): Promise<Answer> {
  let answered = false;
  void answer.finally(() => (answered = true)).catch(() => undefined);
  const untilMs = performance.now() + SLOW_MS;
  while (performance.now() < untilMs && !answered) {
    process.kill(engine, "SIGSTOP");
    await sleep(STAND_MS);
    const ranMs = cpuMs(engine);
    process.kill(engine, "SIGCONT");
    while (cpuMs(engine) - ranMs < RUN_MS && performance.now() < untilMs && !answered) await sleep(5);
  }
  return answer;
}

async function restoresRefused(): Promise<number> {
  const text = await (await fetch(`${replicaOf("replica-2").url}/metrics`)).text();
  return Number(/^warmpath_engine_restores_refused_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
}

async function transferOf({ id }: Answer): Promise<Transfer> {
  const { transfer } = await outcomeOf(product, id);
  if (transfer === null) throw new Error("Nothing was fetched.");
  return transfer;
}

test(
  "a prefill elsewhere that takes far longer than was guessed, and goes on, is waited for and computed once",
  async () => {
    const asked = chat(product, promptOf(201, WORDS));
    await until("it is prefilled elsewhere", async () => (await runningAt(replicaOf("replica-1"))) > 0);
    const answer = await slowed(asked);
    const { usage, text } = answer;
    const transfer = await transferOf(answer);
    // What came is the whole prompt, which the decoding replica used, at the first attempt.
    expect(transfer).toMatchObject({ kind: "prefill", replica: "replica-1", outcome: "used" });
    expect(transfer.why).toBeUndefined();
    expect(transfer.tokens).toBeGreaterThan(usage.prompt_tokens - 32);
    expect(await restoresRefused()).toBe(0);
    expect(await pathOf(product, answer.id)).toEqual(["replica-2"]);
    const guessedMs = 2_000 + 3 * GUESS_MS_PER_TOKEN * usage.prompt_tokens;
    expect(transfer.ms).toBeGreaterThan(guessedMs);
    await expectQuiet(product);
    const again = await chat(product, promptOf(201, WORDS));
    expect(again.text).toBe(text);
    if (SLOW_MS < KEPT_FROM_MS) return;
    const row = {
      promptTokens: usage.prompt_tokens,
      guessedMs: round(guessedMs, 0),
      transferMs: round(transfer.ms, 0),
      answerMs: round(answer.ms, 0),
    };
    writeResult("slow-prefill", { slowMs: SLOW_MS, runMs: RUN_MS, standMs: STAND_MS }, [
      { ...row, outcome: transfer.outcome, attempts: 1 },
    ]);
  },
  SLOW_MS + 120_000,
);

test("a prefill elsewhere that only lives is given up at its bound, and computed by the replica that waits", async () => {
  // Short enough to be computed where it is decoded: so that replica learns what a token takes.
  const own = await chat(product, promptOf(203, 150), { max_tokens: 1 });
  expect((await outcomeOf(product, own.id)).transfer).toBeNull();
  process.kill(engine, "SIGSTOP");
  const answer = await chat(product, promptOf(202, 300));
  process.kill(engine, "SIGCONT");
  const transfer = await transferOf(answer);
  expect(answer.status).toBe(200);
  expect(transfer).toMatchObject({ kind: "prefill", replica: "replica-1", outcome: "fallback", why: "timeout", tokens: 0 });
  expect(await pathOf(product, answer.id)).toEqual(["replica-2"]);
  // Whatever was learnt of the other one counts at most twice.
  const boundMs = 2_000 + (3 * 2 * own.ms * answer.usage.prompt_tokens) / own.usage.prompt_tokens;
  expect(transfer.ms).toBeGreaterThan(2_000);
  expect(transfer.ms).toBeLessThan(boundMs + SLACK_MS);
  await expectQuiet(product);
}, 120_000);
