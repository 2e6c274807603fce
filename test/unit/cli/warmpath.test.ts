import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

it("the command loads a subcommand when it is asked for, and nothing before", () => {
  const source = readFileSync(join(import.meta.dirname, "../../../cli/warmpath.ts"), "utf8");
  expect([...source.matchAll(/^import .* from "(.*)";$/gm)].map(([, from]) => from)).toEqual(["node:process"]);
  expect(source.match(/\(\) => import\("\.\/[a-z-]+\.ts"\)/g)).toHaveLength(5);
});
