import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERRORS } from "../../../src/errors.ts";
import { REFUSAL_REASONS } from "../../../src/wire/control.ts";
import { HEADER } from "../../../src/wire/headers.ts";

const glossary = readFileSync(join(import.meta.dirname, "../../../docs/glossary.md"), "utf8");
/** Cells of each row of a table, in order. */
const rowsUnder = (title: string): string[][] => {
  const section =
    glossary
      .slice(glossary.indexOf(`\n## ${title}\n`))
      .slice(1)
      .split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
};

test("the glossary has every header", () => {
  const named = rowsUnder("Headers").flatMap(([names = ""]) => names.replaceAll("`", "").split(", "));
  expect(named.toSorted()).toEqual(Object.values(HEADER).toSorted());
});

test("the glossary has every refusal with its status", () => {
  const named = rowsUnder("Refusals").map(([code = "", status]) => [code.replaceAll("`", ""), Number(status)] as const);
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(Object.entries(ERRORS).map(([code, { status }]) => [code, status])));
});

test("the glossary has every word with which a pool refuses a replica", () => {
  const named = rowsUnder("Refused replicas").map(([word = ""]) => word.replaceAll("`", ""));
  expect(named.toSorted()).toEqual(REFUSAL_REASONS.toSorted());
});
