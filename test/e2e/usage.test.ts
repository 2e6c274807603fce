import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";

it("an unknown option is refused in two lines", () => {
  const run = spawnSync(process.execPath, ["cli/start.ts", "--bogus"], { encoding: "utf8", timeout: 30_000 });
  expect(run.status).toBe(1);
  expect(run.stderr.trim().split("\n")).toHaveLength(2);
  expect(run.stderr).toContain("npm start -- --help lists the options.");
});
