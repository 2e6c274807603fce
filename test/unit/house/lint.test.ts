/** The linter holds the house: a rule that silently reports nothing would be worse than none. */
import { execFile } from "node:child_process";
import { mkdtempSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
let folder: string;
let report: string;

/** The fixtures in a folder of their own, where nothing ignores them, under the project's own rules. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "warmpath-lint-"));
  cpSync(join(root, "test/lint-fixtures"), folder, { recursive: true });
  const rules = JSON.parse(readFileSync(join(root, ".oxlintrc.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, ".oxlintrc.json"), JSON.stringify({ ...rules, ignorePatterns: [] }));
  writeFileSync(
    join(folder, "tsconfig.json"),
    '{ "compilerOptions": { "strict": true, "module": "esnext", "moduleResolution": "bundler", "lib": ["ES2023"], "types": [] } }',
  );
  report = await new Promise<string>((resolve) => {
    execFile(
      join(root, "node_modules/.bin/oxlint"),
      ["--format", "unix", "-c", ".oxlintrc.json", "."],
      { cwd: folder },
      (_error, stdout, stderr) => resolve(stdout + stderr),
    );
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a floating promise is an error", () => {
  expect(report).toMatch(/floating-promise\.ts:3.*no-floating-promises/);
});

test("the core may not import from the platform", () => {
  expect(report).toMatch(/impure\.ts:1.*node:fs.*no-restricted-imports/);
});

test("the replica may not import from the folder of one engine", () => {
  expect(report).toMatch(/knows-one-engine\.ts:1.*no-restricted-imports/);
});

test.each(["no-restricted-globals", "no-restricted-properties"])("the core has no clock and no chance: %s", (rule) => {
  expect(report).toContain(rule);
});
