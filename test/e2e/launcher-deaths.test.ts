/** Who dies around the launcher: what started it, and what it started. */
import { spawn } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { edgePid, familyOf, replicaPid } from "./processes.ts";
import { isAlive, metric, preparedStateDirectory, startProduct, until } from "./started.ts";
import { streamOf } from "./streamed.ts";

/** From the end of a drain. It takes 5 s at most on a free machine. */
const DRAINED_MS = 10_000;

describe("npm", () => {
  it("may be ended: what runs under it ends whole, and nothing is left", async () => {
    const stateDirectory = await preparedStateDirectory();
    const command = `${process.execPath} --disable-warning=ExperimentalWarning cli/start.ts --model tiny --port 0 --replicas 1 --state ${stateDirectory}`;
    // As npm starts it: a shell between, which is told to end and tells nobody.
    const shell = spawn("sh", ["-c", `${command} & wait`], {
      stdio: ["ignore", "ignore", "ignore"],
      env: { ...process.env, npm_lifecycle_event: "start" },
    });
    try {
      const facts = await until(
        "it is ready",
        async () => {
          const text = await readFile(join(stateDirectory, "dev.json"), "utf8").catch(() => null);
          return text === null ? null : (JSON.parse(text) as { url: string; apiKey: string; model: string });
        },
        60_000,
      );
      const pids = familyOf(shell.pid ?? 0);
      const headers = { authorization: `Bearer ${facts.apiKey}`, "content-type": "application/json" };
      const stream = await streamOf({ ...facts, headers }, 1_000);
      await stream.begun;
      shell.kill("SIGTERM");
      expect((await stream.text).trimEnd().endsWith("data: [DONE]")).toBe(true);
      await until("all processes have gone", async () => (await Promise.all(pids.map(isAlive))).every((alive) => !alive), DRAINED_MS);
    } finally {
      shell.kill("SIGTERM");
      await rm(stateDirectory, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});

describe("a replica that dies again and again", () => {
  it("is started again, ever later, while the others go on", async () => {
    const product = await startProduct({ replicas: 2 });
    try {
      const [first, other] = ["replica-1", "replica-2"];
      const otherPid = replicaPid(product, other);
      let before: number | undefined;
      for (let death = 0; death < 6; death++) {
        await until("it is started again", () => ![undefined, before].includes(replicaPid(product, first)), 30_000);
        before = replicaPid(product, first);
        process.kill(before ?? 0, "SIGKILL");
      }
      await until("it is said", () => product.output().includes(`${first} died 5 times in a row. The others go on`));
      expect(product.launcher.exitCode).toBeNull();
      expect(replicaPid(product, other)).toBe(otherPid);
      const { status, headers } = await fetch(`${product.url}/v1/chat/completions`, {
        method: "POST",
        headers: product.headers,
        body: JSON.stringify({ model: product.model, max_tokens: 4, messages: [{ role: "user", content: "Go on." }] }),
      });
      expect([status, headers.get("x-warmpath-replica")]).toEqual([200, other]);
      await until("it comes back", async () => (await metric(product, "warmpath_replicas_ready")) === 2, 60_000);
      await until("it is said", () => product.output().includes(`${first} is back.`));
      expect(product.output()).toContain(`${first} died (SIGKILL), starting again.`);
      expect(product.output()).not.toContain(`${other} died`);
    } finally {
      await product.stop();
    }
  });
});

describe("an edge that dies", () => {
  it("is started again, though it dies again before it serves", async () => {
    const product = await startProduct({ replicas: 1 });
    try {
      let killed = product.edgePid;
      process.kill(killed, "SIGKILL");
      for (let death = 0; death < 3; death++) {
        await until("it is started again", () => ![undefined, killed].includes(edgePid(product)));
        killed = edgePid(product) ?? killed;
        process.kill(killed, "SIGKILL");
      }
      await until("it serves", async () => (await metric(product, "warmpath_replicas_ready").catch(() => null)) === 1);
      expect(product.launcher.exitCode).toBeNull();
      expect(product.output()).toContain("The edge died (SIGKILL), starting again.");
      expect(product.output()).toContain("The edge is back.");
    } finally {
      await product.stop();
    }
  });

  it("is started again at its port once that is free, though another had it for a moment", async () => {
    const product = await startProduct({ replicas: 1 });
    const port = Number(new URL(product.url).port);
    const other = createServer();
    try {
      process.kill(product.edgePid, "SIGKILL");
      await until("another has its port", async () => {
        if (!other.listening) await new Promise<void>((resolve) => other.once("error", () => resolve()).listen(port, "127.0.0.1", resolve));
        return other.listening;
      });
      await until("it was tried", () => product.output().includes(`Port ${port} is taken`));
      other.close();
      await until("it serves", async () => (await metric(product, "warmpath_replicas_ready").catch(() => null)) === 1);
      expect(product.launcher.exitCode).toBeNull();
      // workerd's own words, with the places in its sources and its stacks, are for the log.
      expect(product.output()).not.toContain("c++:");
      expect(await readFile(join(product.stateDirectory, "log"), "utf8")).toContain("Address already in use");
    } finally {
      other.close();
      await product.stop();
    }
  });
});
