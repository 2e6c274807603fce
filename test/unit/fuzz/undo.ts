/**
 * Shows that the fuzz finds what it is for: `npm run test:fuzz:undo [-- NAME …] [--events N] [--only INVARIANT]`. Each patch of `undo/` takes one mend back. For each of them
 * the tree as it is now is put into a worktree of its own, the patch is applied there, and the fuzz has to find it.
 *
 * To make one: change the source so that the fault is back, `git diff > test/unit/fuzz/undo/NN-what.patch`, `git checkout` the source, and write a line in
 * words above the diff. A patch that no longer applies is one whose mend was rewritten: make it anew.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { writeResult } from "../../bench/result.ts";

const ROOT = join(import.meta.dirname, "../../..");
const PATCHES = join(import.meta.dirname, "undo");

interface Undone {
  patch: string;
  /** Its first line. */
  what: string;
  outcome: "found" | "not found" | "does not apply" | "failed";
  invariant?: string;
  theme?: string;
  seed?: number;
  afterEvents?: number;
  message?: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { events: { type: "string", default: "500000" }, only: { type: "string", multiple: true } },
});

function git(...args: string[]): string {
  return execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
}

/** What is committed, and what is changed and not committed. */
const tree = git("stash", "create") || git("rev-parse", "HEAD");

function undone(patch: string | null): Undone {
  const text = patch === null ? "Nothing is undone: the fuzz finds nothing." : readFileSync(join(PATCHES, patch), "utf8");
  const what = text.slice(0, text.indexOf("\n") + 1 || undefined).trim();
  const name = patch === null ? "nothing" : basename(patch, ".patch");
  const folder = mkdtempSync(join(tmpdir(), "warmpath-undo-"));
  try {
    git("worktree", "add", "--quiet", "--detach", "--force", folder, tree);
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    if (patch !== null) {
      const applied = spawnSync("git", ["apply", join(PATCHES, patch)], { cwd: folder, encoding: "utf8" });
      if (applied.status !== 0) return { patch: name, what, outcome: "does not apply", message: applied.stderr };
    }
    return { patch: name, what, ...found(folder) };
  } finally {
    git("worktree", "remove", "--force", folder);
    rmSync(folder, { recursive: true, force: true });
  }
}

function found(folder: string): Omit<Undone, "patch" | "what"> {
  const only = (values.only ?? []).flatMap((name) => ["--only", name]);
  const run = spawnSync(process.execPath, ["test/unit/fuzz/find.ts", "--events", values.events, ...only], {
    cwd: folder,
    encoding: "utf8",
  });
  if (run.stdout === "") return { outcome: "failed", message: run.stderr };
  const told = JSON.parse(run.stdout) as { found: boolean } & Pick<Undone, "invariant" | "theme" | "seed" | "afterEvents" | "message">;
  if (!told.found) return { outcome: "not found" };
  const { invariant, theme, seed, afterEvents, message } = told;
  return {
    outcome: "found",
    ...(invariant === undefined ? {} : { invariant }),
    ...(theme === undefined ? {} : { theme }),
    ...(seed === undefined ? {} : { seed }),
    ...(afterEvents === undefined ? {} : { afterEvents }),
    ...(message === undefined ? {} : { message }),
  };
}

const patches = readdirSync(PATCHES)
  .filter((file) => file.endsWith(".patch"))
  .filter((file) => positionals.length === 0 || positionals.some((name) => file.startsWith(name)))
  .toSorted();
const rows: Undone[] = [];
for (const patch of [null, ...patches]) {
  const row = undone(patch);
  rows.push(row);
  const more = row.outcome === "found" ? ` by "${row.invariant}" after ${row.afterEvents} events (${row.theme}, seed ${row.seed})` : "";
  process.stdout.write(`${row.patch}: ${row.outcome}${more}\n${row.outcome === "found" ? "" : (row.message ?? "")}`);
}
const [control, ...undos] = rows;
const fine = control?.outcome === "not found" && undos.every(({ outcome }) => outcome === "found");
if (positionals.length === 0) process.stdout.write(`${writeResult("fuzz-undo", { events: Number(values.events) }, rows)}\n`);
process.exitCode = fine ? 0 : 1;
