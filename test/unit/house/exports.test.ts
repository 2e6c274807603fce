/** What a file exports, another one imports: the rest is not exported, or not there. */
import { expect, test } from "vitest";
import { otherFiles, unusedExports } from "../../../tools/exports.ts";
import { productFiles } from "../../../tools/graph.ts";

/** `file name` → why it is exported though no other file imports it. */
const REASONS: Readonly<Record<string, string>> = {
  "workers/router.ts DirectoryObject": "wrangler.toml names it",
  "workers/router.ts PoolObject": "wrangler.toml names it",
  "workers/router.ts RecordsObject": "wrangler.toml names it",
};

test("no file of the product exports what no other file imports, but for the reasons listed", () => {
  expect(unusedExports(productFiles(), otherFiles()).toSorted()).toEqual(Object.keys(REASONS).toSorted());
});

test("an export counts as used where it is imported by name, as a type, under another name, late, or with its whole file", () => {
  const product = new Map([
    [
      "src/a.ts",
      "export const used = 1;\nexport interface Shape {}\nexport async function late() {}\nexport type Unused = 1;\nconst own = 1;",
    ],
    [
      "src/b.ts",
      'export class Renamed {}\nexport { used } from "./a.ts";\nexport { own as Other, type Thing };\nexport function unused() {}',
    ],
    ["src/c.ts", 'export const all = 1;\nimport {\n  type Shape,\n  used,\n} from "./a.ts";'],
  ]);
  const others = new Map([
    [
      "test/d.ts",
      'import { Renamed as R } from "../src/b.ts";\nimport * as c from "../src/c.ts";\nconst { late } = await import("../src/a.ts");',
    ],
    ["test/e.ts", 'import { Other, type Thing } from "../src/b.ts";'],
  ]);
  expect(unusedExports(product, others)).toEqual(["src/b.ts unused", "src/b.ts used"]);
});
