/** Which engine runs, and with which settings, is the environment's to say. */
import { expect, test } from "vitest";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { openEngine } from "../../gpu-backend/engine/open-engine.ts";
import { complete, modelDirectory } from "./engine-runs.ts";

test.each([
  ["an engine that there is not", { WARMPATH_ENGINE: "steam" }, 'WARMPATH_ENGINE: there is no engine "steam"; there is llama-cpp'],
  ["a name that all objects know", { WARMPATH_ENGINE: "constructor" }, "WARMPATH_ENGINE: there is no engine"],
  ["no model", {}, "WARMPATH_MODEL: "],
  ["limits of another name", { WARMPATH_MODEL: "model.gguf", WARMPATH_GRAMMAR_LIMITS: "narrow" }, "WARMPATH_GRAMMAR_LIMITS: "],
  ["too many sequences", { WARMPATH_MODEL: "model.gguf", WARMPATH_SEQUENCES: "65" }, "WARMPATH_SEQUENCES: "],
])("%s is a wrong configuration, which names the variable", async (_, environment, message) => {
  expect(await openEngine(environment)).toEqual({ type: "misconfigured", message: expect.stringContaining(message) });
});

test("a model that is not there is an engine that is unavailable", async () => {
  const opened = await openEngine({ WARMPATH_ENGINE: "llama-cpp", WARMPATH_MODEL: "/no/such/model.gguf" });
  expect(opened).toEqual({ type: "unavailable", message: expect.stringContaining("/no/such/model.gguf cannot be read") });
});

test("an engine is opened with its settings", async () => {
  const opened = await openEngine({
    WARMPATH_MODEL: await ensureDemoModel(modelDirectory),
    WARMPATH_SEQUENCES: "3",
    WARMPATH_CONTEXT_TOKENS: "512",
    WARMPATH_BLOCK_TOKENS: "16",
    WARMPATH_QUEUE_LIMIT: "1",
    WARMPATH_GRAMMAR_LIMITS: "short",
  });
  if (opened.type !== "opened") throw new Error(opened.message);
  const { engine } = opened;
  try {
    expect(engine.card).toMatchObject({ sequences: 3, contextTokens: 512, blockTokens: 16, queueLimit: 1, kvTokens: 1_536 });
    const grammar = { type: "json_schema" as const, schema: { type: "string", minLength: 100 }, strict: true };
    for (const seed of [1, 2]) {
      const { text, finished } = await complete(engine, "Say it", { grammar, seed, temperature: 1, maxTokens: 200 });
      expect([finished.reason, text.length <= 130]).toEqual(["stop", true]);
    }
  } finally {
    await engine.close();
  }
});
