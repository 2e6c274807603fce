/** What the embedded engine chooses where its environment is silent. */
import { describe, expect, it } from "vitest";
import { contextFor } from "../../gpu-backend/engine/llama-cpp/context-size.ts";
import { modelId } from "../../gpu-backend/engine/llama-cpp/model-id.ts";
import { readSettings } from "../../gpu-backend/engine/llama-cpp/settings.ts";

describe("a model's id", () => {
  it.each([
    ["Smollm2 135M 8k Lc100K Mix1 Ep2", "smollm2-135m-8k-lc100k-mix1-ep2"],
    ["warmpath-demo", "warmpath-demo"],
    ["Llama-3.2-1B-Instruct-Q4_K_M", "llama-3.2-1b-instruct-q4_k_m"],
    ["  Größe (neu)! ", "gr-e-neu"],
    ["模型", "model"],
    ["x".repeat(100), "x".repeat(64)],
  ])("of %j is %s", (name, id) => {
    expect(modelId(name)).toBe(id);
  });

  it("can be named", () => {
    expect(readSettings({ WARMPATH_MODEL: "m", WARMPATH_MODEL_NAME: "mine" })).toMatchObject({ values: { modelName: "mine" } });
    expect(readSettings({ WARMPATH_MODEL: "m", WARMPATH_MODEL_NAME: "mé" }).ok).toBe(false);
  });
});

describe("a context that nobody names", () => {
  const GIB = 2 ** 30;
  const bounds = { trainedTokens: 8_192, sequences: 4, kvBytesPerToken: 23_040, kvBytes: GIB };

  it("is what the model was made for, where memory reaches", () => {
    expect(contextFor(bounds)).toBe(8_192);
    expect(contextFor({ ...bounds, trainedTokens: Infinity, kvBytes: 100 * GIB })).toBe(131_072);
  });

  it("is as long as memory reaches where that is less, and none where that is too little", () => {
    expect(contextFor({ ...bounds, trainedTokens: 131_072, kvBytesPerToken: 131_072, kvBytes: 4 * GIB })).toBe(8_192);
    expect(contextFor({ ...bounds, kvBytes: 0.5 * GIB })).toBe(5_632);
    expect(contextFor({ ...bounds, kvBytes: GIB / 100 })).toBeNull();
  });

  it("is a usual one where the file does not say what a token costs", () => {
    expect(contextFor({ ...bounds, trainedTokens: 131_072, kvBytesPerToken: Number.NaN })).toBe(8_192);
  });
});
