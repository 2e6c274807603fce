/** What the launcher leaves behind: nothing, however it ends; and one clear sentence when it cannot start. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { streamOf } from "./streamed.ts";
import { isAlive, launch, metric, preparedStateDirectory, startProduct, until } from "./started.ts";

/** It takes 2 s at most on a free machine, of which 1.5 s are the watchdog's grace. */
const GONE_MS = 10_000;
/** From the end of a drain. It takes 5 s at most on a free machine. */
const DRAINED_MS = 10_000;

/** `root` and all that descends from it, zombies left out. */
async function family(root: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, "utf8").catch(() => null);
    // pid (name) state ppid …, and a name may have spaces and brackets in it.
    const ppid = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
    if (ppid !== undefined) parents.set(Number(entry), Number(ppid));
  }
  const found = new Set([root]);
  for (let before = 0; before < found.size;) {
    before = found.size;
    for (const [pid, ppid] of parents) if (found.has(ppid)) found.add(pid);
  }
  const alive = await Promise.all([...found].map(async (pid) => ((await isAlive(pid)) ? pid : null)));
  return alive.filter((pid) => pid !== null);
}

async function commandOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ").trim();
}

describe("ending the launcher", () => {
  it.each([
    ["SIGTERM", false],
    ["SIGINT", false],
    ["SIGKILL", false],
    ["SIGINT", true],
    ["SIGKILL", true],
  ] as const)("by %s leaves no process (a stream running: %s)", async (signal, busy) => {
    const product = await startProduct({ replicas: busy ? 2 : 1 });
    try {
      const { pid } = product.launcher;
      if (pid === undefined) throw new Error("The launcher has no process.");
      const stream = busy
        ? await fetch(`${product.url}/v1/chat/completions`, {
            method: "POST",
            headers: product.headers,
            body: JSON.stringify({
              model: product.model,
              stream: true,
              temperature: 0,
              max_tokens: 8_000,
              messages: [{ role: "user", content: "Tell me everything." }],
            }),
          })
        : null;
      const reader = stream?.body?.getReader();
      if (reader !== undefined) expect((await reader.read()).done).toBe(false);
      const pids = await family(pid);
      // The launcher, its watchdog, the edge, replicas and their engines.
      expect(pids.length).toBeGreaterThanOrEqual(busy ? 7 : 5);
      expect(pids).toEqual(expect.arrayContaining([product.edgePid, ...product.replicas.map((replica) => replica.pid)]));
      product.launcher.kill(signal);
      let left: number[] = [];
      await until(
        "all processes have gone",
        async () => (left = (await Promise.all(pids.map(async (p) => ((await isAlive(p)) ? p : 0)))).filter(Boolean)).length === 0,
        GONE_MS,
      ).catch(async () => {
        throw new Error(`Left after ${GONE_MS} ms:\n${(await Promise.all(left.map(commandOf))).join("\n")}`);
      });
      await reader?.cancel().catch(() => undefined);
      await until("its end is known", () => product.launcher.exitCode !== null || product.launcher.signalCode !== null);
      if (signal !== "SIGKILL") expect(product.launcher.exitCode).toBe(0);
      await expect(fetch(`${product.url}/healthz`)).rejects.toThrow();
    } finally {
      await product.stop();
    }
  });
});

describe("draining the launcher", () => {
  it("lets eight streams end whole, takes nothing new, and leaves no process", async () => {
    const product = await startProduct({ replicas: 2 });
    try {
      const pids = await family(product.launcher.pid ?? 0);
      const streams = await Promise.all(Array.from({ length: 8 }, () => streamOf(product, 1_000)));
      await Promise.all(streams.map(({ begun }) => begun));
      product.launcher.kill("SIGTERM");
      await until("the launcher says so", () => product.output().includes("Ending"));
      await until("nothing new is taken", async () => (await metric(product, "warmpath_replicas_ready")) === 0);
      const texts = await Promise.all(streams.map(({ text }) => text));
      expect(texts.map((text) => text.trimEnd().endsWith("data: [DONE]"))).toEqual(streams.map(() => true));
      expect(texts.filter((text) => text.includes('"error"'))).toEqual([]);
      await until("all processes have gone", async () => (await Promise.all(pids.map(isAlive))).every((alive) => !alive), DRAINED_MS);
      await until("the launcher ends", () => product.launcher.exitCode === 0);
    } finally {
      await product.stop();
    }
  });

  it("answers who comes meanwhile, when nobody is left who could: 503, not a cut connection", async () => {
    const product = await startProduct({ replicas: 1 });
    try {
      const stream = await streamOf(product, 1_000);
      await stream.begun;
      product.launcher.kill("SIGTERM");
      await until("nothing new is taken", async () => (await metric(product, "warmpath_replicas_ready")) === 0);
      const body = JSON.stringify({ model: product.model, max_tokens: 4, messages: [{ role: "user", content: "Go on." }] });
      const late = await fetch(`${product.url}/v1/chat/completions`, { method: "POST", headers: product.headers, body });
      expect([late.status, late.headers.get("retry-after"), (await late.json()) as object]).toEqual([
        503,
        "5",
        { error: expect.objectContaining({ message: expect.stringContaining("have ended") }) },
      ]);
      expect((await stream.text).trimEnd().endsWith("data: [DONE]")).toBe(true);
      await until("the launcher ends", () => product.launcher.exitCode === 0);
    } finally {
      await product.stop();
    }
  });

  it.each(["SIGTERM", "SIGINT"] as const)("is cut by a second signal, %s: no process is left", async (second) => {
    const product = await startProduct({ replicas: 1 });
    try {
      const pids = await family(product.launcher.pid ?? 0);
      const { begun, text } = await streamOf(product, 8_000);
      await begun;
      product.launcher.kill("SIGTERM");
      await until("the launcher says so", () => product.output().includes("Ending"));
      expect((await Promise.all(pids.map(isAlive))).every(Boolean)).toBe(true);
      product.launcher.kill(second);
      await until("all processes have gone", async () => (await Promise.all(pids.map(isAlive))).every((alive) => !alive), GONE_MS);
      await text.catch(() => undefined);
    } finally {
      await product.stop();
    }
  });

  it("ends when its time is up: streams that still run end with an error event", async () => {
    const product = await startProduct({ replicas: 1, extraArgs: ["--drain", "1"] });
    try {
      const pids = await family(product.launcher.pid ?? 0);
      const { begun, text } = await streamOf(product, 8_000);
      await begun;
      product.launcher.kill("SIGTERM");
      const said = await text;
      expect(said).toContain('"error"');
      expect(said).not.toContain("[DONE]");
      await until("all processes have gone", async () => (await Promise.all(pids.map(isAlive))).every((alive) => !alive), DRAINED_MS);
    } finally {
      await product.stop();
    }
  });
});

describe("draining one replica", () => {
  it("lets its streams end whole while the other takes what is new, and it comes back as another process", async () => {
    const product = await startProduct({ replicas: 2 });
    try {
      const streams = await Promise.all(Array.from({ length: 4 }, () => streamOf(product, 1_000)));
      await Promise.all(streams.map(({ begun }) => begun));
      const [first] = product.replicas;
      if (first === undefined) throw new Error("There is no replica.");
      process.kill(first.pid, "SIGTERM");
      await until("it takes nothing new", async () => (await metric(product, "warmpath_replicas_ready")) === 1);
      const next = await streamOf(product, 20);
      const texts = await Promise.all([...streams, next].map(({ text }) => text));
      expect(texts.map((text) => text.trimEnd().endsWith("data: [DONE]"))).toEqual(texts.map(() => true));
      expect(texts.filter((text) => text.includes('"error"'))).toEqual([]);
      await until("its process has gone", async () => !(await isAlive(first.pid)), DRAINED_MS);
      await until("it is back", async () => (await metric(product, "warmpath_replicas_ready")) === 2, 30_000);
    } finally {
      await product.stop();
    }
  });
});

describe("a start that cannot be", () => {
  let state: string;
  beforeAll(async () => {
    state = await preparedStateDirectory();
  });
  afterAll(() => rm(state, { recursive: true, force: true, maxRetries: 5 }));

  async function refusedStart(...args: string[]): Promise<string> {
    const running = launch(["--state", state, ...args]);
    const { pid } = running.process;
    let seen: number[] = [];
    if (pid !== undefined) seen = await family(pid);
    const { code } = await running.exited;
    expect(code, running.stderr()).toBe(1);
    expect(running.stdout()).not.toContain("is ready");
    await until("its processes have gone", async () => (await Promise.all(seen.map(isAlive))).every((alive) => !alive), GONE_MS);
    // The pipe may have more to give than had come when the process ended.
    await until("standard error is read", () => running.stderr() !== "");
    return running.stderr();
  }

  it("on a taken port", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await until("a port is taken", () => server.listening);
    const { port } = server.address() as AddressInfo;
    try {
      expect(await refusedStart("--port", String(port))).toBe(
        `Port ${port} is taken. Choose another with --port, or --port 0 for any free one.\n`,
      );
    } finally {
      server.close();
    }
  });

  it("without its model file", async () => {
    const file = join(state, "nothing.gguf");
    expect(await refusedStart("--port", "0", "--model", file)).toBe(
      `There is no model file ${file}. Give --model an existing GGUF file.\n`,
    );
  });

  it.each([
    [["--speed", "9"], /^Unknown option '--speed'/],
    [["--replicas", "none"], /^--replicas must be a whole number from 0 to 64, not "none"\.\n/],
    [["--replicas"], /^Option '--replicas <value>' argument missing\n/],
    [["--profile", "best"], /^--profile must be one of cache-aware, /],
    [["--port", "70000"], /^--port must be a whole number from 0 to 65535/],
    [["stray"], /^Unexpected argument 'stray'/],
  ])("with the options %j", async (args, expected) => {
    const said = await refusedStart(...args);
    expect(said).toMatch(expected);
    expect(said.trimEnd().split("\n")).toEqual([expect.stringMatching(/\S/), "npm start -- --help lists the options."]);
    expect(said).not.toMatch(/^ +at /m);
  });

  it("with a file that is no GGUF", async () => {
    const folder = await mkdtemp(join(tmpdir(), "warmpath-no-gguf-"));
    try {
      for (const [name, bytes] of [
        ["text.gguf", Buffer.from("this is no model")],
        ["empty.gguf", Buffer.alloc(0)],
        ["cut.gguf", Buffer.concat([Buffer.from("GGUF"), Buffer.from([3, 0, 0, 0]), Buffer.alloc(100, 7)])],
      ] as const) {
        const file = join(folder, name);
        await writeFile(file, bytes);
        const said = await refusedStart("--port", "0", "--replicas", "1", "--model", file);
        expect(said).toContain(file);
        // The replica says it and the launcher repeats it.
        expect(new Set(said.trimEnd().split("\n")).size, said).toBe(1);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
