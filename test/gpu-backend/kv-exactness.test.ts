import { afterAll, beforeAll, describe } from "vitest";
import { startLlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { demoShape, ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { describeKvExactness, kvContextTokens, kvPromptLengths, kvShortLengths } from "../conformance/engine-kv.ts";
import { modelDirectory } from "./engine-runs.ts";

async function start(modelPath: string, sequences: number): Promise<LlamaEngine> {
  const engine = await startLlamaEngine({ modelPath, sequences, contextTokens: kvContextTokens, queueLimit: 64 });
  if ("type" in engine) throw new Error(engine.message);
  return engine;
}

describe.each([
  ["the demo model", demoShape, kvPromptLengths],
  ["a wider model", { ...demoShape, layers: 3, width: 256, heads: 8, kvHeads: 4, feedForward: 512, vocabulary: 1024 }, kvShortLengths],
])("%s", (name, shape, lengths) => {
  let engines: LlamaEngine[] = [];
  beforeAll(async () => {
    const modelPath = await ensureDemoModel(modelDirectory, { shape });
    // Another number of sequences: state files name it.
    engines = await Promise.all([start(modelPath, 4), start(modelPath, 3)]);
  });
  afterAll(() => Promise.all(engines.map((engine) => engine.close())));

  describeKvExactness(
    name,
    () => {
      const [first, second] = engines;
      if (first === undefined || second === undefined) throw new Error("not started");
      return { first, second };
    },
    { lengths },
  );
});
