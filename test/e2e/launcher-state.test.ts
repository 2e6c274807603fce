/** One state directory, one launcher; and nothing of it is left, whatever ends whom and when. */
import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../cli/bundle.ts";
import { childrenOf, edgePid, familyOf, replicaPid } from "./processes.ts";
import { isAlive, launch, preparedStateDirectory, type Started, startProduct, until } from "./started.ts";

/** From the end of the launcher, or of its drain. */
const LEFT_MS = 5_000;

/** Of a start's first second behind the engine's own; each takes as long as a start. WARMPATH_MOMENTS=20 takes more of them. */
const MOMENTS = Number(process.env.WARMPATH_MOMENTS ?? 4);

interface DevJson {
  launcher: { pid: number };
  edge: { pid: number };
  replicas: { name: string; pid: number; url: string }[];
}

const devJson = (stateDirectory: string): DevJson | null => {
  const file = join(stateDirectory, "dev.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as DevJson) : null;
};

const watchdogPid = ({ launcher }: Pick<Started, "launcher">): number | undefined =>
  childrenOf(launcher.pid ?? 0).find((pid) => commandOf(pid).includes("watchdog.ts"));

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return "";
  }
}

async function allGone(pids: readonly number[], ms = LEFT_MS): Promise<void> {
  let left: number[] = [];
  await until(
    "all processes have gone",
    async () => (left = (await Promise.all(pids.map(async (pid) => ((await isAlive(pid)) ? pid : 0)))).filter(Boolean)).length === 0,
    ms,
  ).catch(() => {
    throw new Error(`Left after ${ms} ms: ${left.map((pid) => `${pid} ${commandOf(pid).replaceAll("\0", " ")}`).join("; ")}`);
  });
}

describe("a launcher that runs", () => {
  let product: Started;
  beforeAll(async () => {
    product = await startProduct({ replicas: 2 });
  });
  afterAll(() => product.stop());

  it("keeps a second one off its directory, in one line with its pid and address", async () => {
    const before = readFileSync(join(product.stateDirectory, "dev.json"), "utf8");
    const second = launch(["--port", "0", "--state", product.stateDirectory]);
    expect((await second.exited).code).toBe(1);
    await until("standard error is read", () => second.stderr() !== "");
    expect([second.stdout(), second.stderr()]).toEqual([
      "",
      `The state directory ${product.stateDirectory} is used by the launcher with pid ${product.launcher.pid} at ${product.url}. End that one, or choose another directory with --state.\n`,
    ]);
    expect(readFileSync(join(product.stateDirectory, "dev.json"), "utf8")).toBe(before);
  });

  it("gives no secret to whom it is none of: the engines, the watchdog", () => {
    const family = familyOf(product.launcher.pid ?? 0);
    const engines = family.filter((pid) => commandOf(pid).includes("llama-cpp/main.ts"));
    expect(engines).toHaveLength(2);
    const others = [...engines, watchdogPid(product) ?? 0];
    for (const pid of others) expect([environmentOf(pid) !== "", /WARMPATH_|wpj_/.test(environmentOf(pid))]).toEqual([true, false]);
    for (const { pid } of product.replicas) expect(environmentOf(pid)).not.toContain("WARMPATH_SECRET");
  });

  it("has a dev.json that follows its processes", async () => {
    const [first] = product.replicas;
    if (first === undefined) throw new Error("There is no replica.");
    process.kill(first.pid, "SIGKILL");
    await until("it is not told any more", () => devJson(product.stateDirectory)?.replicas.length === 1);
    const back = await until(
      "its next process is told",
      () => devJson(product.stateDirectory)?.replicas.find(({ name, pid }) => name === first.name && pid !== first.pid),
      60_000,
    );
    expect(back.pid).toBe(replicaPid(product, first.name));
    process.kill(product.edgePid, "SIGKILL");
    await until("it is not there without an edge", () => devJson(product.stateDirectory)?.edge.pid !== product.edgePid);
    const again = await until("the next edge is told", () => devJson(product.stateDirectory)?.edge.pid, 60_000);
    expect(again).toBe(edgePid(product));
  });

  it("starts its watchdog again when that dies", async () => {
    const first = watchdogPid(product);
    process.kill(first ?? 0, "SIGKILL");
    const second = await until("there is another", () => {
      const now = watchdogPid(product);
      return now === first ? null : now;
    });
    process.kill(second, "SIGKILL");
    await until("there is a third", () => ![undefined, first, second].includes(watchdogPid(product)));
  });
});

describe("killed in any order", () => {
  /** Of the processes of one launcher, by what they are. */
  const ORDERS: ("launcher" | "watchdog" | "edge" | "replica" | "engine")[][] = [
    ["watchdog", "launcher"],
    ["launcher", "watchdog"],
    ["watchdog", "edge", "replica", "launcher"],
    ["engine", "replica", "launcher", "watchdog"],
    ["edge", "launcher", "watchdog"],
  ];
  it.each(ORDERS.map((order) => [order.join(", "), order] as const))(
    "%s: none is left after 5 s, and no dev.json",
    async (_name, order) => {
      const product = await startProduct({ replicas: 1 });
      const root = product.launcher.pid ?? 0;
      const family = familyOf(root);
      const engine = family.find((pid) => commandOf(pid).includes("llama-cpp/main.ts"));
      const pids = { launcher: root, watchdog: watchdogPid(product), edge: edgePid(product), replica: product.replicas[0]?.pid, engine };
      const seen = new Set(family);
      try {
        for (const who of order) {
          for (const pid of familyOf(root)) seen.add(pid);
          process.kill(pids[who] ?? 0, "SIGKILL");
        }
        await allGone([...seen]);
        // Where the watchdog was killed with its launcher the next start removes it.
        if (order.at(-1) !== "watchdog" && !order.includes("watchdog")) expect(devJson(product.stateDirectory)).toBeNull();
      } finally {
        for (const pid of seen) if (await isAlive(pid)) process.kill(pid, "SIGKILL");
        await rm(product.stateDirectory, { recursive: true, force: true, maxRetries: 5 });
      }
    },
  );
});

describe("a start that fails", () => {
  let state: string;
  let marker: string;
  beforeAll(async () => {
    state = await preparedStateDirectory();
  });
  afterAll(() => rm(state, { recursive: true, force: true, maxRetries: 5 }));

  /** Whoever inherited the marker. */
  const marked = (): number[] =>
    readdirSync("/proc")
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && environmentOf(pid).includes(marker));

  it(`by a replica, at ${MOMENTS} different moments: no process is left 5 s later`, async () => {
    for (let n = 0; n < MOMENTS; n++) {
      marker = `MARK=${randomUUID()}`;
      // Opening a pipe for reading waits for a writer: so the engine reads its model when the test says so.
      const model = join(state, `model-${n}.gguf`);
      execFileSync("mkfifo", [model]);
      const [name = "", value = ""] = marker.split("=");
      const child = spawn(process.execPath, ["cli/start.ts", "--port", "0", "--replicas", "1", "--state", state, "--model", model], {
        cwd: ROOT,
        stdio: "ignore",
        env: { ...process.env, [name]: value },
      });
      const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
      // Resolves when the engine opens it.
      const writer = spawn("sh", ["-c", `sleep ${(n / MOMENTS).toFixed(2)}; echo "this is no model" > "${model}"`], { stdio: "ignore" });
      expect(await ended).toBe(1);
      writer.kill();
      await until("none is left", () => marked().length === 0, LEFT_MS).catch(() => {
        throw new Error(`Left: ${marked().map(commandOf).join("; ")}`);
      });
      expect(devJson(state)).toBeNull();
    }
    // Each start takes a second or two, and ten times as long on a busy machine.
  }, 400_000);

  it.each(["SIGKILL", "SIGTERM", "SIGINT"] as const)("by %s at any moment of it: no process is left 5 s later", async (signal) => {
    for (const delayMs of [100, 400, 1_200]) {
      marker = `MARK=${randomUUID()}`;
      const [name = "", value = ""] = marker.split("=");
      const child = spawn(process.execPath, ["cli/start.ts", "--port", "0", "--replicas", "1", "--model", "tiny", "--state", state], {
        cwd: ROOT,
        stdio: "ignore",
        env: { ...process.env, [name]: value },
      });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      await sleep(delayMs);
      child.kill(signal);
      await ended;
      await until("none is left", () => marked().length === 0, LEFT_MS).catch(() => {
        throw new Error(`Left: ${marked().map(commandOf).join("; ")}`);
      });
    }
  });

  it("by a replica while its edge has not come to listen: no process is left 5 s later", async () => {
    marker = `MARK=${randomUUID()}`;
    const [name = "", value = ""] = marker.split("=");
    const child = spawn(process.execPath, ["cli/start.ts", "--port", "0", "--replicas", "1", "--model", "tiny", "--state", state], {
      cwd: ROOT,
      stdio: "ignore",
      // No number: the replica fails as soon as it reads it.
      env: { ...process.env, [name]: value, WARMPATH_HOST_BYTES: "none" },
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const edge = await until("there is an edge", () => edgePid({ launcher: child }), 30_000);
    process.kill(edge, "SIGSTOP");
    expect(await ended).toBe(1);
    await until("none is left", () => marked().length === 0, LEFT_MS)
      .catch(() => {
        throw new Error(`Left: ${marked().map(commandOf).join("; ")}`);
      })
      .finally(() => {
        for (const pid of marked()) process.kill(pid, "SIGKILL");
      });
  });

  it.each([
    ["that is a file", "", /^The state directory \S+ can't be used: it is no directory\. Choose another with --state\.\n$/],
    ["on a full disk", "ulimit -f 16;", /^The state directory \S+ can't be used: its disk is full\. Choose another with --state\.\n$/],
    [
      "on a disk that the model fills",
      "ulimit -f 1000;",
      /^The state directory \S+ can't be used: its disk is full\. Choose another with --state\.\n$/,
    ],
  ])("with a state directory %s says so in one line", async (what, limits, said) => {
    const folder = await mkdtemp(join(tmpdir(), "warmpath-unusable-"));
    try {
      const path = join(folder, "state");
      if (what === "that is a file") await writeFile(path, "");
      const child = spawn(
        "sh",
        ["-c", `${limits} exec "$0" "$@"`, process.execPath, "cli/start.ts", "--model", "tiny", "--port", "0", "--state", path],
        {
          cwd: ROOT,
          stdio: ["ignore", "ignore", "pipe"],
        },
      );
      let text = "";
      child.stderr.on("data", (part: Buffer) => (text += part.toString()));
      expect(await new Promise((resolve) => child.once("close", resolve))).toBe(1);
      expect(text).toMatch(said);
      // Half a model would keep a full disk full.
      if (existsSync(path) && what !== "that is a file") expect(readdirSync(path).filter((name) => name.includes("gguf"))).toEqual([]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("because its model is a pipe that nobody writes to ends with its launcher", async () => {
    const model = join(state, "silent.gguf");
    execFileSync("mkfifo", [model]);
    const running = launch(["--port", "0", "--replicas", "1", "--state", state, "--model", model]);
    const root = running.process.pid ?? 0;
    await until("its engine reads", () => familyOf(root).some((pid) => commandOf(pid).includes("llama-cpp/main.ts")), 30_000);
    const family = familyOf(root);
    running.process.kill("SIGKILL");
    await allGone(family);
  });
});
