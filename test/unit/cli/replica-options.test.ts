import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseReplicaOptions } from "../../../cli/replica-options.ts";

const folder = mkdtempSync(join(tmpdir(), "warmpath-replica-options-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const VLLM = ["--engine", "vllm", "--engine-url", "http://127.0.0.1:8000", "--name", "gpu-1"];
const parsed = (args: string[], given: NodeJS.ProcessEnv = { WARMPATH_JOIN_TOKEN: "wpj_given" }) => {
  const options = parseReplicaOptions(args, given);
  if (options === "help") throw new Error("help was asked for");
  return options;
};

test("an edge's URL becomes the address of a pool's socket", () => {
  for (const [given, becomes] of [
    ["https://edge.example", "wss://edge.example/announce/default"],
    ["http://127.0.0.1:8787/", "ws://127.0.0.1:8787/announce/default"],
    ["wss://edge.example/announce/large", "wss://edge.example/announce/large"],
  ]) {
    expect(parsed([...VLLM, "--join", given ?? ""]).join).toBe(becomes);
  }
  expect(parsed([...VLLM, "--join", "https://edge.example", "--pool", "large"])).toMatchObject({
    pool: "large",
    join: expect.stringMatching(/large$/),
  });
});

test("a token is taken from its option, a file or the environment, in this order", () => {
  const tokenFile = file("token", "wpj_file\n");
  const token = (...more: string[]) => parsed([...VLLM, "--join", "https://e", ...more]).environment["WARMPATH_JOIN_TOKEN"];
  expect([token(), token("--token-file", tokenFile), token("--token", "wpj_flag", "--token-file", tokenFile)]).toEqual([
    "wpj_given",
    "wpj_file",
    "wpj_flag",
  ]);
});

test("the replica gets its engine's settings, and a key by file only", () => {
  const { environment } = parsed([...VLLM, "--join", "https://e", "--engine-key-file", file("key", "sk-1\n"), "--sequences", "8"]);
  expect(environment).toMatchObject({
    WARMPATH_ENGINE: "vllm",
    WARMPATH_ENGINE_URL: "http://127.0.0.1:8000",
    WARMPATH_ENGINE_KEY: "sk-1",
    WARMPATH_SEQUENCES: "8",
    WARMPATH_REPLICA: "gpu-1",
  });
  expect(parsed(["--engine", "llama-cpp", "--model", "m.gguf", "--join", "https://e"])).toMatchObject({
    model: { type: "file", path: resolve("m.gguf") },
    environment: { WARMPATH_ENGINE: "llama-cpp" },
  });
  expect(parsed(["--engine", "llama-cpp", "--model", "smollm2", "--join", "https://e"]).model).toEqual({
    type: "smollm2",
    isDefault: false,
  });
});

describe("what is wrong is said in a sentence", () => {
  test.each<[string[], string]>([
    [["--join", "https://e"], "--engine must be one of llama-cpp, vllm, openai."],
    [["--engine", "vllm", "--join", "https://e"], "--engine vllm needs --engine-url URL."],
    [["--engine", "llama-cpp", "--join", "https://e"], "--engine llama-cpp needs --model FILE.gguf, or --model smollm2."],
    [["--engine", "llama-cpp", "--model", "tiny,smollm2", "--join", "https://e"], "--model names several models; a replica serves one."],
    [VLLM, "--join must be the edge's URL"],
    [[...VLLM, "--join", "ftp://e"], "--join must be the edge's URL"],
    [[...VLLM, "--join", "https://e/v1"], "--join must be the edge's URL"],
    [[...VLLM, "--join", "https://e/announce/a", "--pool", "b"], "--join names pool a, --pool b."],
    [[...VLLM, "--join", "https://e", "--name", "a/b"], "--name must have"],
    [[...VLLM, "--join", "https://e", "--token-file", "/no/such"], "--token-file: /no/such cannot be read."],
    [[...VLLM, "--join", "https://e", "--engine-key-file", "/no/such"], "--engine-key-file: /no/such cannot be read."],
  ])("%j", (args, message) => {
    expect(() => parsed(args)).toThrow(message);
  });

  test("without any token", () => {
    expect(() => parsed([...VLLM, "--join", "https://e"], {})).toThrow("--token-file");
    expect(() => parsed([...VLLM, "--join", "https://e", "--token-file", file("empty", "\n")], {})).toThrow("is empty");
  });
});
