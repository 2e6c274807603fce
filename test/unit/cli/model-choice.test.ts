import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { cacheFolder } from "../../../cli/models/cache-folder.ts";
import { parseModels } from "../../../cli/models/model-choice.ts";
import { placesOf, variablesOf } from "../../../cli/fleet.ts";
import { parseOptions, type StartOptions } from "../../../cli/options.ts";
import { secretsOf } from "../../../cli/secrets.ts";

describe("--model", () => {
  it("is SmolLM2 where none is named", () => {
    expect(parseModels(undefined)).toEqual([{ type: "smollm2", isDefault: true }]);
  });

  it.each([
    ["smollm2", { type: "smollm2", isDefault: false }],
    ["tiny", { type: "tiny" }],
    ["some/model.gguf", { type: "file", name: null, path: resolve("some/model.gguf") }],
    ["Mine-1.5=model.gguf", { type: "file", name: "Mine-1.5", path: resolve("model.gguf") }],
    ["/with=sign/model.gguf", { type: "file", name: null, path: "/with=sign/model.gguf" }],
  ])("takes %s", (text, choice) => {
    expect(parseModels(text)).toEqual([choice]);
  });

  it.each([
    ["", "--model must be smollm2, tiny, FILE.gguf or NAME=FILE.gguf"],
    ["tiny,", "--model must be"],
    ["tiny,tiny", "--model names tiny twice. For several pools of one model use --pools."],
    [Array.from({ length: 17 }, (_, index) => `${index}.gguf`).join(","), "at most 16"],
  ])("refuses %j in a sentence", (text, message) => {
    expect(() => parseModels(text)).toThrow(message);
  });

  it("gives each of several its own pools, and no more than there may be", () => {
    const options = parseOptions(["--model", "tiny,chat=model.gguf", "--pools", "2", "--replicas", "1"]) as StartOptions;
    expect(placesOf(options)).toEqual([
      { name: "replica-1", pool: "default", role: "both", model: 0 },
      { name: "replica-2", pool: "default-2", role: "both", model: 0 },
      { name: "replica-3", pool: "default-3", role: "both", model: 1 },
      { name: "replica-4", pool: "default-4", role: "both", model: 1 },
    ]);
    expect(() => parseOptions(["--model", "tiny,smollm2", "--pools", "9"])).toThrow("--pools must be a whole number from 1 to 8");
  });
});

describe("a replica's environment", () => {
  const [place] = placesOf(parseOptions([]) as StartOptions);
  const variables = (args: string[], model: { name: string | null; isUntrained: boolean }, given = {}) => {
    const options = parseOptions(args) as StartOptions;
    if (place === undefined) throw new Error("no place");
    return variablesOf(
      place,
      { ...model, path: "m.gguf" },
      { options, port: 1, secrets: secretsOf("a secret of a test"), given, kvBytes: 5 },
    );
  };

  it("names the model as clients will, and bounds its memory where no context is named", () => {
    const named = variables([], { name: "smollm2", isUntrained: false });
    expect(named).toMatchObject({ WARMPATH_MODEL: "m.gguf", WARMPATH_MODEL_NAME: "smollm2", WARMPATH_KV_BYTES: "5" });
    expect([named["WARMPATH_CONTEXT_TOKENS"], named["WARMPATH_GRAMMAR_LIMITS"]]).toEqual([undefined, undefined]);
    const tiny = variables(["--context", "1024"], { name: null, isUntrained: true });
    expect(tiny).toMatchObject({ WARMPATH_CONTEXT_TOKENS: "1024", WARMPATH_GRAMMAR_LIMITS: "short" });
    expect([tiny["WARMPATH_MODEL_NAME"], tiny["WARMPATH_KV_BYTES"]]).toEqual([undefined, undefined]);
  });

  it("has a folder of its own for blocks, in the one that was given", () => {
    expect(variables([], { name: null, isUntrained: true }, { WARMPATH_DISK_DIRECTORY: "/disk" })).toMatchObject({
      WARMPATH_DISK_DIRECTORY: "/disk/replica-1",
    });
  });
});

it("the cache is the user's: XDG_CACHE_HOME where it is an absolute path, else below the home folder", () => {
  expect(cacheFolder({ XDG_CACHE_HOME: "/cache" })).toBe("/cache/warmpath");
  for (const wrong of ["", "relative"]) expect(cacheFolder({ XDG_CACHE_HOME: wrong })).toMatch(/\/\.cache\/warmpath$/);
});
