/** kill -9 and SIGSTOP of the sender's process at every stage of a transfer. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { transferAgent } from "../../gpu-backend/transfer/fetch.ts";
import { FakeEngine, fakeRequest } from "./transfer-engine.ts";
import { answerWith, fetchFor, prose, until } from "./transfer-rig.ts";

const prompt = prose(16 * 4 + 5);
const truth = new FakeEngine().answer(fakeRequest(prompt));
const HEAD = 4 + 1 + 60 + 16;
const BLOCK = 4 + 1 + 40 + 16 * 4 + 16 * 64 + 16;
const TAIL = 4 + 1 + 4 + 5 * 4 + 5 * 64 + 16;

/** Where it is stopped without dying, too. */
const STOPPED = new Set(["before it answers", "while it computes", "in the third block", "behind the tail"]);

function start(...args: string[]): ChildProcess {
  const child = fork(fileURLToPath(new URL("transfer-child.ts", import.meta.url)), args, { execArgv: [] });
  children.add(child);
  return child;
}

/** A stopped process does not notice that its parent ended. */
const children = new Set<ChildProcess>();

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

test.concurrent.each([
  ["before it answers", 0, "unreachable", -1],
  ["while it computes", 100, "cut", -1],
  ["in a length", 2, "cut", -1],
  ["in the head", 30, "cut", -1],
  ["behind the head", HEAD, "cut", -1],
  ["in the first block", HEAD + 500, "cut", -1],
  ["behind a block", HEAD + BLOCK, "unreachable", 1],
  ["in the third block", HEAD + 2 * BLOCK + 999, "unreachable", 2],
  ["behind the last block", HEAD + 4 * BLOCK, "unreachable", 4],
  ["in the tail", HEAD + 4 * BLOCK + 50, "unreachable", 4],
  ["behind the tail", HEAD + 4 * BLOCK + TAIL, "unreachable", 4],
  ["in the first token", HEAD + 4 * BLOCK + TAIL + 40, "unreachable", 4],
])("kill -9 %s", async (stage, bytes, why, blocks) => {
  for (const signal of STOPPED.has(stage) ? (["SIGKILL", "SIGSTOP"] as const) : (["SIGKILL"] as const)) {
    const child = start(String(bytes), stage === "while it computes" ? "computing" : "");
    const [url] = (await once(child, "message")) as [string];
    const dispatcher = transferAgent();
    const began = performance.now();
    const stopped = once(child, "message").then(() => child.kill(signal));
    const fetched = await fetchFor({ url, prompt, dispatcher, stallMs: signal === "SIGSTOP" ? 1_000 : 6_000 });
    // A child that was refused at once never stops.
    await Promise.race([stopped, sleep(2_000)]);
    expect(performance.now() - began).toBeLessThan(8_000);
    expect(answerWith(prompt, fetched)).toEqual(truth);
    expect(fetched.ok ? fetched.blocks.length : -1).toBe(blocks);
    expect(fetched.ok ? fetched.shortfall : fetched.why).toBe(signal === "SIGSTOP" ? "stalled" : why);
    child.kill("SIGKILL");
    await dispatcher.close();
  }
});

test("no socket is left", async () => {
  await until(() => sockets() === 0);
});
