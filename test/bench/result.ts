/** A benchmark's raw result as JSON: with the commit, the machine and the parameters that it stands for. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";

export interface Result<Row> {
  /** Hash, with a "+" when the working tree differs from it. */
  commit: string;
  /** ISO 8601. */
  date: string;
  machine: { cpus: number; cpu: string; node: string };
  parameters: Record<string, unknown>;
  rows: Row[];
}

function git(...args: string[]): string {
  return execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
}

/** Writes `test/bench/results/NAME.json` and returns its path. */
export function writeResult<Row>(name: string, parameters: Record<string, unknown>, rows: Row[]): string {
  const result: Result<Row> = {
    // A copy without its history is told.
    commit:
      process.env.WARMPATH_COMMIT ?? git("rev-parse", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") === "" ? "" : "+"),
    date: new Date().toISOString(),
    machine: { cpus: availableParallelism(), cpu: cpus()[0]?.model ?? "unknown", node: process.version },
    parameters,
    rows,
  };
  const directory = join(import.meta.dirname, "results");
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${name}.json`);
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}
