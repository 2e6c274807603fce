import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startLlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { accepted, complete, modelDirectory, request, startDemo, until } from "./engine-runs.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "warmpath-engine-"));
});
afterAll(() => rm(directory, { recursive: true }));

const settings = { sequences: 1, contextTokens: 512, queueLimit: 1 };

it("comes back after its process was killed", async () => {
  const engine = await startDemo({ sequences: 1 });
  try {
    const before = await complete(engine, "hello there");
    const run = await accepted(engine, request("doomed", { maxTokens: 900 }));
    const events = run.events[Symbol.asyncIterator]();
    await until(events, "started");
    const restarted = new Promise<void>((resolve) => engine.onRestart(resolve));
    const { processId } = engine;
    if (processId === undefined) throw new Error("no process");
    process.kill(processId, "SIGKILL");
    expect(await until(events, "finished")).toMatchObject({ reason: "error", promptTokens: expect.any(Number) });
    expect(engine.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
    expect(await engine.run(request("meanwhile"))).toMatchObject({ type: "refused", reason: "unavailable" });
    await restarted;
    const after = await complete(engine, "hello there");
    expect(after.text).toBe(before.text);
    expect(after.finished.cachedTokens).toBe(0);
  } finally {
    await engine.close();
  }
  expect(await engine.run(request("too late"))).toMatchObject({ type: "refused", reason: "unavailable" });
});

it("says why it cannot start", async () => {
  const modelPath = await ensureDemoModel(modelDirectory);
  const plain = path.join(directory, "plain.gguf");
  await writeFile(plain, "no model");
  const answers = await Promise.all([
    startLlamaEngine({ ...settings, modelPath: path.join(directory, "missing.gguf") }),
    startLlamaEngine({ ...settings, modelPath: plain }),
    startLlamaEngine({ ...settings, modelPath, sequences: 256, contextTokens: 32_768 * 2 }),
    startLlamaEngine({ ...settings, modelPath, contextTokens: 10 }),
  ]);
  expect(answers.map((answer) => "message" in answer && answer.message)).toEqual([
    expect.stringContaining("cannot be read"),
    expect.stringContaining("is not a GGUF file"),
    expect.stringContaining("made for 32768 tokens"),
    expect.stringContaining("at least 128 tokens"),
  ]);
});
