/** `warmpath replica`: a server that runs already is attached to a pool of a real edge by one command. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ROOT } from "../../cli/bundle.ts";
import { chatMlTemplate } from "../../gpu-backend/engine/llama-cpp/chat-template.ts";
import { makeBundle, POOL, SoakEdge } from "../bench/soak/edge-process.ts";
import { openAiServer, type OpenAiServer } from "../gpu-backend/openai-server.ts";
import { vllmServer } from "../gpu-backend/vllm-server.ts";
import { until } from "./started.ts";

const KEY = "sk-the-key-of-the-server";

let bundle: Awaited<ReturnType<typeof makeBundle>>;
let edge: SoakEdge;
let server: OpenAiServer;
let folder: string;
let command: Command | undefined;

class Command {
  output = "";
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(changes: readonly string[] = [], environment: Record<string, string> = {}) {
    const args = [
      "--engine",
      "openai",
      "--engine-url",
      server.url,
      "--join",
      edge.url,
      "--name",
      "served",
      "--template",
      join(folder, "template"),
    ];
    this.process = spawn(process.execPath, [join(ROOT, "cli/warmpath.ts"), "replica", ...args, ...changes], {
      env: { ...process.env, WARMPATH_JOIN_TOKEN: edge.secrets.joinToken(POOL), WARMPATH_ENGINE_KEY: KEY, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) stream?.on("data", (part: Buffer) => (this.output += part.toString()));
    this.ended = once(this.process, "close").then(([code]) => code as number | null);
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "warmpath-replica-command-"));
  await writeFile(join(folder, "template"), chatMlTemplate);
  server = await openAiServer({ key: KEY });
  bundle = await makeBundle();
  edge = await SoakEdge.start(bundle.path);
});
afterAll(async () => {
  command?.process.kill("SIGKILL");
  await edge?.end();
  await bundle?.remove();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

it("shows what it found, joins, and serves through the edge with what the server really had cached", async () => {
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, edge.secrets.joinToken(POOL));
  command = new Command(["--token-file", tokenFile], { WARMPATH_JOIN_TOKEN: "" });
  const { process: running } = command;
  await until("the replica has joined", () => command?.output.includes("served has joined"), 60_000);
  expect(command.output).toMatch(
    /Engine +vllm 0\.32\.0\n +Model +demo-served, context 8192 tokens\n +Cache +24576 tokens, blocks of 32, sha256\n/,
  );
  expect(command.output).toMatch(/Residency +predicted[^]*Pool +default at 127\.0\.0\.1:\d+, as served\n/);
  expect(command.output).not.toMatch(/wpj_|sk-/);
  expect(await readFile(`/proc/${running.pid}/cmdline`, "utf8")).not.toMatch(/wpj_|sk-/);
  const client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: edge.secrets.apiKey, maxRetries: 0 });
  const messages = [{ role: "user" as const, content: `Which words come? ${"They follow from the prompt. ".repeat(80)}` }];
  const hostile = { kv_transfer_params: { do_remote_prefill: true }, vllm_xargs: {}, priority: -5, cache_salt: "theirs" };
  const cached: (number | undefined)[] = [];
  for (const _ of [1, 2]) {
    const answer = await client.chat.completions.create({ model: "demo-served", max_tokens: 8, temperature: 0, messages, ...hostile });
    expect(answer.choices[0]?.finish_reason).toMatch(/stop|length/);
    cached.push(answer.usage?.prompt_tokens_details?.cached_tokens);
  }
  expect(cached[0]).toBe(0);
  expect(cached[1]).toBeGreaterThan(200);
  const body = server.bodies.at(-1) ?? {};
  expect(Object.keys(body)).not.toEqual(expect.arrayContaining(["priority"]));
  expect(JSON.stringify(body)).not.toMatch(/kv_transfer|xargs|theirs/);
  expect(body["cache_salt"]).toMatch(/./);
  running.kill("SIGINT");
  expect(await command.ended).toBe(0);
});

it("follows a vLLM's KV events: what the pool finds is what the engine had cached, and the decision says when that is not sure", async () => {
  const vllm = await vllmServer();
  const running = new Command(["--engine", "vllm", "--engine-url", vllm.url, "--name", "followed"]);
  command = running;
  try {
    await until("the replica has joined", () => running.output.includes("followed has joined"), 60_000);
    expect(running.output).toMatch(/Residency +by KV events from tcp:\/\/127\.0\.0\.1:\d+\n/);
    const headers = { authorization: `Bearer ${edge.secrets.apiKey}` };
    const residency = async () => {
      const answer = await fetch(`${edge.url}/v1/replicas`, { headers });
      const { data } = (await answer.json()) as { data: { replicas: { name: string; residency: { state: string } | null }[] }[] };
      return data[0]?.replicas.find(({ name }) => name === "followed")?.residency?.state;
    };
    await until("it is exact", async () => (await residency()) === "exact", 30_000);
    const client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: edge.secrets.apiKey, maxRetries: 0 });
    const messages = [{ role: "user" as const, content: `What comes? ${"It follows from what was said. ".repeat(80)}` }];
    const ask = async () => {
      const { data, response } = await client.chat.completions.create({ model: "demo-served", max_tokens: 4, messages }).withResponse();
      return { cached: data.usage?.prompt_tokens_details?.cached_tokens ?? 0, id: response.headers.get("x-request-id") ?? "" };
    };
    const toldOf = async (id: string) =>
      (await (await fetch(`${edge.url}/v1/decisions/${id}`, { headers })).json()) as { attempts: object[] };
    expect((await ask()).cached).toBe(0);
    const again = await ask();
    expect(again.cached).toBeGreaterThan(200);
    expect(JSON.stringify(await toldOf(again.id))).not.toContain("residency");
    vllm.publisher.cut();
    await until("it is degraded", async () => (await residency()) === "degraded", 30_000);
    expect(JSON.stringify(await toldOf((await ask()).id))).toContain("degraded: its KV events do not come");
  } finally {
    running.process.kill("SIGINT");
    await running.ended;
    await vllm.close();
  }
});

it.each<[string, string[], Record<string, string>, string]>([
  [
    "a wrong token",
    [],
    { WARMPATH_JOIN_TOKEN: "wpj_wrong-token" },
    'refuses the join token: get pool default\'s with "warmpath join-token default".',
  ],
  ["an unknown pool", ["--pool", "nowhere"], {}, "has no pool nowhere: name one of its pools with --pool."],
  ["an edge that is not there", ["--join", "http://127.0.0.1:9"], {}, "The edge at 127.0.0.1:9 can't be reached"],
  ["a server that is not there", ["--engine-url", "http://127.0.0.1:9"], {}, "The engine's server can't be reached"],
  ["a wrong key", [], { WARMPATH_ENGINE_KEY: "sk-wrong" }, "The engine's server refuses the key"],
])("with %s it ends with one sentence that names the remedy", async (_, changes, environment, sentence) => {
  const failing = new Command(changes, environment);
  expect(await failing.ended).toBe(1);
  expect(failing.output).toContain(sentence);
  expect(failing.output.trim().split("\n")).toHaveLength(1);
  expect(failing.output).not.toMatch(/wpj_wrong|sk-/);
});
