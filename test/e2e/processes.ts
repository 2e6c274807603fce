/** Processes of a started product, found through /proc: dev.json tells only those of the first start. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Started } from "./started.ts";

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // It has gone meanwhile.
    return "";
  }
}

/** Zombies are none. */
export function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid)) return false;
      const stat = read(pid, "stat");
      const [state, parentPid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(parentPid) === parent && state !== "Z" && state !== "X";
    });
}

/** Undefined while it is not running. */
export function replicaPid({ launcher }: Started, name: string): number | undefined {
  return childrenOf(launcher.pid ?? 0).find((pid) => read(pid, "environ").split("\0").includes(`WARMPATH_REPLICA=${name}`));
}

export function edgePid({ launcher }: Pick<Started, "launcher">): number | undefined {
  return childrenOf(launcher.pid ?? 0).find((pid) => basename(read(pid, "cmdline").split("\0")[0] ?? "") === "workerd");
}

/** The process and all below it. */
export function familyOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(familyOf)];
}
