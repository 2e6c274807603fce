/** The directory through which an engine exchanges state with llama.cpp. Whose owner was killed is found by its name, and removed. */
import { accessSync, constants, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

/** Namespace of process ids, process id and start of the owner. */
const NAME = /^warmpath-(\d+)-(\d+)-(\d+)-/;

/** llama.cpp exchanges state through files only: in memory where the system has a tmpfs. */
function scratchParent(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}

/** Another process may get the same id later, but not the same start. Null: there is no such process. */
function startOf(pid: number | "self"): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

/** Process ids mean the same in one namespace only, and containers may share /dev/shm. */
function namespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

function remove(directory: string): void {
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch {
    // Another user's stays.
  }
}

/** A new one for an engine of this process. */
export function makeScratch(): Promise<string> {
  const parent = scratchParent();
  const here = namespace();
  for (const name of readdirSync(parent)) {
    const [, where, pid, start] = NAME.exec(name) ?? [];
    if (where === here && startOf(Number(pid)) !== start) remove(path.join(parent, name));
  }
  return mkdtemp(path.join(parent, `warmpath-${here}-${process.pid}-${startOf("self") ?? 0}-`));
}
