/**
 * Commands that end with the process that started them, whatever ends that one. Linux does it (prctl PR_SET_PDEATHSIG), through setpriv of
 * util-linux, which then becomes the command: the process id stays. Where setpriv is missing the command is started as it is.
 */
import { spawnSync } from "node:child_process";

let available: boolean | null = null;

function isAvailable(): boolean {
  available ??= spawnSync("setpriv", ["--pdeathsig", "KILL", "--", "true"], { stdio: "ignore" }).status === 0;
  return available;
}

/** The command line, to be spawned by this thread: the signal comes when the thread ends that spawned it. */
export function dyingWithParent(command: string, args: readonly string[], signal: "KILL" | "TERM" = "KILL"): [string, string[]] {
  return isAvailable() ? ["setpriv", ["--pdeathsig", signal, "--", command, ...args]] : [command, [...args]];
}

/** For `fork`, which puts the module behind these. `flags`: of Node itself. */
export function forkDyingWithParent(flags: readonly string[]): { execPath: string; execArgv: string[] } {
  const [execPath, execArgv] = dyingWithParent(process.execPath, flags);
  return { execPath, execArgv };
}
