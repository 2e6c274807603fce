/** What `npm start` says: each step, each change, each request where it is asked to, and why it can't start. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../cli/bundle.ts";
import { startWranglerDev } from "../../cli/edge.ts";
import { choosePort } from "../../cli/port.ts";
import { launch, preparedStateDirectory, type Started, startProduct, until } from "./started.ts";

describe("a launcher that runs with --log", () => {
  let product: Started;
  beforeAll(async () => {
    product = await startProduct({ replicas: 1, extraArgs: ["--log"] });
  });
  afterAll(() => product?.stop());

  const ask = (headers: Record<string, string>, body: object): Promise<Response> =>
    fetch(`${product.url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) });

  it("has said each step, without a colour and without the engine's own words", () => {
    const [first, ...lines] = product.output().split("\n");
    expect(first).toMatch(/^Warmpath starts: the edge at http:\/\/127\.0\.0\.1:\d+ and 1 replica\. State in /);
    expect(lines.slice(0, 2).toSorted()).toEqual(["  replica-1 is here (1 of 1)", "  the edge listens"]);
    expect(product.output()).not.toMatch(/\x1b|llama|ggml|c\+\+:/); // oxlint-disable-line no-control-regex -- escapes are what is looked for
  });

  it("has a line for each request, served or refused, with numbers and no text, and keeps them in its log", async () => {
    const messages = [{ role: "user", content: "A very private question. ".repeat(20) }];
    await (await ask(product.headers, { model: product.model, max_tokens: 4, messages })).text();
    await (await ask(product.headers, { model: product.model, max_tokens: 4, messages, stream: true })).text();
    await (await ask({ ...product.headers, authorization: "Bearer wp_wrong" }, {})).text();
    await (await ask(product.headers, { model: "nobody", messages })).text();
    await (await fetch(`${product.url}/chat/completions`)).text();
    const lines = await until("there are five", () => {
      const found = product.output().match(/^(?:GET|POST) .*$/gm) ?? [];
      return found.length >= 5 ? found : null;
    });
    const served = new RegExp(
      `^POST /v1/chat/completions 200 ${product.model} replica-1: \\d+ of \\d+ prompt tokens cached, first token after [\\d.]+ m?s, \\d tokens? in [\\d.]+ m?s$`,
    );
    const byTheEdge = /^POST \/v1\/chat\/completions 40[14]: answered by the edge in [\d.]+ m?s$/;
    expect(lines.toSorted()).toEqual([
      expect.stringMatching(/^GET \/chat\/completions 404: answered by the edge/),
      expect.stringMatching(served),
      expect.stringMatching(served),
      expect.stringMatching(byTheEdge),
      expect.stringMatching(byTheEdge),
    ]);
    const log = await readFile(join(product.stateDirectory, "log"), "utf8");
    for (const line of lines) expect(log).toContain(` request ${line}\n`);
    expect(log).toMatch(/ launcher Warmpath starts[^]* replica-1 replica-1 has joined pool default/);
    expect(log + product.output().replaceAll(product.apiKey, "")).not.toContain("private question");
    const secret = (await readFile(join(product.stateDirectory, "secret"), "utf8")).trim();
    for (const hidden of [product.apiKey, secret, "wpj_"]) expect(log).not.toContain(hidden);
  });
});

describe("the edge alone", () => {
  it("starts with --replicas 0, and a replica joins by the command that it shows", async () => {
    const state = await preparedStateDirectory();
    const running = launch(["--port", "0", "--replicas", "0", "--state", state]);
    let replica: ReturnType<typeof spawn> | undefined;
    try {
      await until("it is ready", () => running.stdout().includes("Ctrl-C ends everything"), 60_000);
      const [, command = ""] = /^ {2}(WARMPATH_JOIN_TOKEN=.*)$/m.exec(running.stdout()) ?? [];
      expect(running.stdout()).toContain("Warmpath's edge is ready, without a replica");
      expect(command).toContain("--model smollm2");
      expect(running.stdout()).not.toContain("wpj_");
      // The other model needs no network.
      const here = command.replace("--model smollm2", "--model tiny --name joined --context 512");
      replica = spawn("sh", ["-c", here], {
        cwd: ROOT,
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, XDG_CACHE_HOME: join(state, "cache") },
      });
      let said = "";
      for (const stream of [replica.stdout, replica.stderr]) stream?.on("data", (part: Buffer) => (said += part.toString()));
      await until("it has joined", () => said.includes("joined has joined"), 60_000).catch(() =>
        expect(said).toBe("a word of its joining"),
      );
      const [, url = "", key = ""] = /URL +(\S+)\n +Key +(\S+)/.exec(running.stdout()) ?? [];
      const listed = (await (await fetch(`${url}/models`, { headers: { authorization: `Bearer ${key}` } })).json()) as {
        data: { id: string }[];
      };
      expect(listed.data.map(({ id }) => id)).toEqual(["warmpath-demo"]);
    } finally {
      if (replica?.pid !== undefined) process.kill(-replica.pid, "SIGINT");
      running.process.kill("SIGINT");
      await running.exited;
      await rm(state, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});

it("a wrangler dev that fails has said why", async () => {
  const state = await preparedStateDirectory();
  const [said, before] = [[] as string[], process.env["NODE_OPTIONS"]];
  try {
    process.env["NODE_OPTIONS"] = "--require=/no/such/module";
    const variables = { WARMPATH_SECRET: "a secret of a test", WARMPATH_POOLS: "default", WARMPATH_PROFILE: "cache-aware" };
    const port = (await choosePort(0)) ?? 0;
    const started = await startWranglerDev({ port, stateDirectory: state, variables, said: (line) => said.push(line) });
    expect(started).toEqual({ type: "failed", message: "wrangler dev did not start: it ended with code 1. What it said stands above." });
    expect(said.join("\n")).toContain("/no/such/module");
  } finally {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
    await rm(state, { recursive: true, force: true });
  }
});

describe("before anything is started", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "warmpath-refused-"));
    await writeFile(join(folder, "text.gguf"), "this is no model");
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each<[string, (folder: string) => string[], Record<string, string>, RegExp]>([
    [
      "a text file as model",
      (at) => ["--model", join(at, "text.gguf")],
      {},
      /^The model \S+text\.gguf is not a GGUF file: it does not begin with GGUF\. Give --model a GGUF file\.\n$/,
    ],
    ["a folder as model", (at) => ["--model", `tiny,mine=${at}`], {}, /^The model \S+ is a folder\. Give --model a GGUF file\.\n$/],
    ["models that are no JSON", () => [], { WARMPATH_MODELS: "{chat" }, /^WARMPATH_MODELS: is no JSON: .+\n$/],
    [
      "a pool that no replica joins",
      () => [],
      { WARMPATH_MODELS: JSON.stringify({ models: { chat: { pools: [{ pool: "default" }, { pool: "other" }] } } }) },
      /^WARMPATH_MODELS\.models\.chat\.pools\.1\.pool: no replica of this start joins other; they join default\. .+\n$/,
    ],
  ])("%s is refused, in one line with the place", async (_, args, environment, line) => {
    const running = launch(["--port", "0", "--state", join(folder, "state"), ...args(folder)], environment);
    expect((await running.exited).code).toBe(1);
    await until("standard error is read", () => running.stderr() !== "");
    expect(running.stdout()).toBe("");
    expect(running.stderr()).toMatch(line);
  });
});
