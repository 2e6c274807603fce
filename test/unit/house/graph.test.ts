/** The import graph of the tree: what the linter's rules by folder cannot see. */
import { expect, test } from "vitest";
import { circles, importGraph, productFiles, roomEdges } from "../../../tools/graph.ts";
import { ROOMS } from "../../../tools/walls.ts";

const files = productFiles();

test("no import runs back up: each room imports those that the table allows", () => {
  const forbidden = [...roomEdges(importGraph(files, true)).keys()].filter((edge) => {
    const [from = "", to = ""] = edge.split(" → ");
    return ROOMS[from]?.may.includes(to) !== true;
  });
  expect(forbidden).toEqual([]);
});

test("the table itself has no circle: its rooms can be put in an order", () => {
  expect(circles(new Map(Object.entries(ROOMS).map(([room, { may }]) => [room, may])))).toEqual([]);
});

test("no files import each other in a circle", () => {
  expect(circles(importGraph(files, false))).toEqual([]);
});

test("a circle is found where there is one", () => {
  const text = (...imported: string[]): string => imported.map((name) => `import { a } from "./${name}.ts";`).join("\n");
  const small = importGraph(
    new Map([
      ["src/a.ts", text("b")],
      ["src/b.ts", `import {\n  c,\n} from "./c.ts";\nimport type { A } from "./a.ts";`],
      ["src/c.ts", `export * from "./a.ts";`],
    ]),
    false,
  );
  expect(circles(small)).toEqual([["src/a.ts", "src/b.ts", "src/c.ts", "src/a.ts"]]);
});

test("no file of the product is longer than 300 lines", () => {
  expect([...files].filter(([, text]) => text.trimEnd().split("\n").length > 300).map(([file]) => file)).toEqual([]);
});
