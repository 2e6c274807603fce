/** dev.json: the address, the key and the processes of the launcher that runs. It is there while what it says is true. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { readRegularSync } from "../gpu-backend/regular-file.ts";
import { MOST_BYTES, writePrivately } from "./state-directory.ts";

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
    if (
      launcher !== null &&
      (JSON.parse(String(readRegularSync(file, MOST_BYTES))) as Partial<DevFacts> | null)?.launcher?.pid !== launcher
    )
      return;
    rmSync(file, { recursive: true, force: true });
  } catch {
    // None is there, or it can't be read or removed: then the next start tells.
  }
}
