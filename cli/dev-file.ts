/** dev.json: the address, the key and the processes of the launcher that runs. It is there while what it says is true. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writePrivately } from "./state-directory.ts";

export interface DevFacts {
  url: string;
  apiKey: string;
  model: string;
  launcher: { pid: number };
  edge: { pid: number };
  /** Those that run and have joined. */
  replicas: { name: string; url: string; pool: string; role: string; pid: number }[];
}

export const devFile = (stateDirectory: string): string => join(stateDirectory, "dev.json");

export function writeDevFile(stateDirectory: string, facts: DevFacts): void {
  writePrivately(devFile(stateDirectory), `${JSON.stringify(facts, null, 2)}\n`);
}

/** `launcher`: removed only if it is this one's; null: whosever it is. */
export function removeDevFile(file: string, launcher: number | null): void {
  try {
    if (launcher !== null && (JSON.parse(readFileSync(file, "utf8")) as Partial<DevFacts>).launcher?.pid !== launcher) return;
    rmSync(file, { force: true });
  } catch {
    // None is there, or it can't be read or removed: then the next start tells.
  }
}
