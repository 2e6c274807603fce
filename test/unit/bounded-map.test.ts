import { expect, it } from "vitest";
import { BoundedMap } from "../../src/bounded-map.ts";

it("the entry that was set longest ago makes room, and setting one again makes it the newest", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1).set("b", 2).set("a", 3).set("c", 4);
  expect([...map]).toEqual([
    ["a", 3],
    ["c", 4],
  ]);
  // Reading is no use of it.
  map.get("a");
  map.set("d", 5);
  expect([...map.keys()]).toEqual(["c", "d"]);
});

it("has no entry where there is room for none", () => {
  expect(new BoundedMap<string, number>(0).set("a", 1).size).toBe(0);
});
