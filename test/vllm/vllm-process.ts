/** A real vLLM as a process, on ports that it keeps over its lives. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** As an environment says it; serializable, so that tests in other processes can start it again. */
export interface VllmSetup {
  /** What starts it, up to its first argument. */
  command: string[];
  /** A folder with the model. */
  model: string;
  flags: string[];
  port: number;
  eventsPort: number;
  replayPort: number;
  log: string;
}

export const SERVED_AS = "demo";
export const BLOCKS = 512;
const START_MS = 480_000;

/** A sentence where something is missing. */
export async function setupOf(environment: NodeJS.ProcessEnv): Promise<VllmSetup | { missing: string }> {
  const model = environment["WARMPATH_VLLM_MODEL"];
  if (model === undefined) return { missing: "WARMPATH_VLLM_MODEL: name a folder with a model that vLLM can serve." };
  const [port = 0, eventsPort = 0, replayPort = 0] = await freePorts(3);
  return {
    command: words(environment["WARMPATH_VLLM_COMMAND"] ?? "vllm"),
    model,
    flags: words(environment["WARMPATH_VLLM_FLAGS"] ?? ""),
    port,
    eventsPort,
    replayPort,
    log: join(environment["WARMPATH_RESULTS"] ?? tmpdir(), "vllm.log"),
  };
}

/** Resolves when it serves; rejects with the end of its log when it does not. One life at a time. */
export async function startVllm(setup: VllmSetup): Promise<void> {
  const { command, model, flags, port, eventsPort, replayPort, log } = setup;
  const events = {
    enable_kv_cache_events: true,
    publisher: "zmq",
    endpoint: `tcp://*:${eventsPort}`,
    replay_endpoint: `tcp://*:${replayPort}`,
  };
  const [program = "", ...before] = command;
  const asked = ["serve", model, "--served-model-name", SERVED_AS, "--host", "127.0.0.1", "--port", String(port)];
  const cache = [
    "--enable-prefix-caching",
    "--enable-prompt-tokens-details",
    "--num-gpu-blocks-override",
    String(BLOCKS),
    "--max-model-len",
    "4096",
  ];
  const file = openSync(log, "a");
  const child = spawn(
    program,
    [...before, ...asked, ...cache, "--max-num-seqs", "8", "--kv-events-config", JSON.stringify(events), ...flags],
    {
      // Its own group: its processes end together.
      detached: true,
      stdio: ["ignore", file, file],
      env: { ...process.env, VLLM_SERVER_DEV_MODE: "1", VLLM_NO_USAGE_STATS: "1", HF_HUB_OFFLINE: "1" },
    },
  );
  closeSync(file);
  writeFileSync(pidFile(setup), String(child.pid ?? 0));
  let problem: string | null = null;
  child.once("error", (error) => (problem = error.message));
  child.once("exit", (code, signal) => (problem ??= `it ended with ${signal ?? code}`));
  const endsAtMs = performance.now() + START_MS;
  while (problem === null && performance.now() < endsAtMs) {
    if (await answers(`http://127.0.0.1:${port}/health`)) return;
    await pause(250);
  }
  await killVllm(setup);
  const lines = readFileSync(log, "utf8").split("\n").slice(-30).join("\n");
  throw new Error(`vLLM does not start: ${problem ?? `not within ${START_MS / 1_000} s`}. The end of its log:\n${lines}`);
}

/** At once, with all its processes. */
export async function killVllm(setup: VllmSetup): Promise<void> {
  const pid = Number(readFileSync(pidFile(setup), "utf8"));
  if (!(pid > 1)) return;
  try {
    process.kill(-pid, "SIGKILL");
    // Its process group lives until the last of them is gone.
    for (;;) {
      process.kill(-pid, 0);
      await pause(20);
    }
  } catch {
    writeFileSync(pidFile(setup), "0");
  }
}

const pidFile = ({ log }: VllmSetup): string => `${log}.pid`;

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");
