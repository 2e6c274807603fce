/** A benchmark's raw result as JSON: with the commit, the machine and the parameters that it stands for. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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

export function commitNow(): string {
  // A copy without its history is told.
  return process.env.WARMPATH_COMMIT ?? git("rev-parse", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") === "" ? "" : "+");
}

const DIRECTORY = join(import.meta.dirname, "results");
const fileOf = (name: string): string => join(DIRECTORY, `${name}.json`);

export function readResult<Row>(name: string): Result<Row> {
  return JSON.parse(readFileSync(fileOf(name), "utf8")) as Result<Row>;
}

/** Writes `test/bench/results/NAME.json` and returns its path. `made`: of the rows that were not made again. */
export function writeResult<Row>(name: string, parameters: Record<string, unknown>, rows: Row[], made: Partial<Result<Row>> = {}): string {
  const result: Result<Row> = {
    commit: commitNow(),
    date: new Date().toISOString(),
    machine: { cpus: availableParallelism(), cpu: cpus()[0]?.model ?? "unknown", node: process.version },
    ...made,
    parameters,
    rows,
  };
  mkdirSync(DIRECTORY, { recursive: true });
  const file = fileOf(name);
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}
