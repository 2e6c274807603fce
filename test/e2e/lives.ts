/** A product that is started again on what an earlier one left. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Target } from "../bench/conversations.ts";
import { withEnvironment } from "./kv-tools.ts";
import { isAlive, launch, until } from "./started.ts";

export interface Life extends Target {
  edge: { pid: number };
  replicas: { pid: number; url: string }[];
  /** SIGTERM; resolves when all processes have gone, their directory stays. */
  stop(): Promise<void>;
}

/** On a state directory that stays: what the next life finds. */
export async function startLife(stateDirectory: string, variables: Record<string, string>): Promise<Life> {
  const devJson = join(stateDirectory, "dev.json");
  await rm(devJson, { force: true });
  const args = ["--port", "0", "--replicas", "1", "--state", stateDirectory];
  const running = await withEnvironment(variables, async () => launch(args));
  const said = await until(
    "the product is ready",
    async () => {
      if (running.process.exitCode !== null) throw new Error(`The launcher ended early:\n${running.stderr()}`);
      const text = await readFile(devJson, "utf8").catch(() => "");
      return text.endsWith("}") || text.endsWith("}\n") ? (JSON.parse(text) as Omit<Life, "stop" | "headers"> & { apiKey: string }) : null;
    },
    60_000,
  );
  const pids = [said.edge.pid, ...said.replicas.map(({ pid }) => pid)];
  const end = async (): Promise<void> => {
    running.process.kill("SIGTERM");
    await Promise.race([running.exited, sleep(10_000, null, { ref: false })]);
    await until("all processes have gone", async () => (await Promise.all(pids.map(isAlive))).every((alive) => !alive), 15_000);
  };
  let ended: Promise<void> | null = null;
  const life: Life = {
    ...said,
    headers: { authorization: `Bearer ${said.apiKey}`, "content-type": "application/json" },
    stop: () => (ended ??= end()),
  };
  return life;
}
