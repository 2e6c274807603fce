/** Sentences are short, and words are those of the field: in README and docs, and in what programs say. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sentencesOf, wordsOf } from "./prose.ts";

const ROOT = join(import.meta.dirname, "../../..");
const MOST_WORDS = 25;
const SCREEN_LINES = 60;

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
/** Decision records are left out: each is of its day and is not written anew. */
const PAGES = globSync(["docs/*.md", "docs/apis/*.md"], { cwd: ROOT }).toSorted();

const longIn = (markdown: string): string[] => sentencesOf(markdown).filter((sentence) => wordsOf(sentence) > MOST_WORDS);
const firstScreen = (markdown: string): string => markdown.split("\n").slice(0, SCREEN_LINES).join("\n");

describe("a sentence", () => {
  test("ends at its mark, and at the end of a list item, a paragraph and a page", () => {
    const markdown = "One two. `Three` four?\nFive\n\n- Six seven\n- Eight (nine). (Ten.)\n\n1. Eleven at 1.5 s, e.g. twelve";
    expect(sentencesOf(markdown)).toEqual([
      "One two.",
      "`code` four?",
      "Five",
      "Six seven",
      "Eight (nine).",
      "(Ten.)",
      "Eleven at 1.5 s, e.g. twelve",
    ]);
  });

  test("has no code, no table and no heading, and of a link its words", () => {
    const markdown =
      "# A heading\n\n```sh\ncode. More code.\n```\n\n| a. B. | c |\n\nSee [the page](docs/a.b.md) of **two** words in `a b c`.";
    expect(sentencesOf(markdown)).toEqual(["See the page of two words in `code`."]);
    expect(sentencesOf(markdown).map(wordsOf)).toEqual([8]);
  });
});

test(`no sentence of the README has more than ${MOST_WORDS} words`, () => {
  expect(longIn(read("README.md"))).toEqual([]);
});

test("the README's first screen says what it is in three sentences and shows the commands, a request and a picture", () => {
  const screen = firstScreen(read("README.md"));
  expect(sentencesOf(screen.split("\n## ")[0] ?? "")).toHaveLength(3);
  for (const shown of ["npm ci\nnpm start\n", "KEY=", "curl -i ", '"max_tokens":', "](docs/screens/"]) expect(screen).toContain(shown);
});

test.each(PAGES)(`no sentence of the first screen of %s has more than ${MOST_WORDS} words`, (page) => {
  expect(longIn(firstScreen(read(page)))).toEqual([]);
});

/** A pattern, and what is written instead. */
const NOT_PLAIN: readonly (readonly [RegExp, string])[] = [
  [/\b(?:told|tells)\b/i, "reported, says"],
  [/\bno (?:eyes|ears)\b/i, "images are not supported"],
  [/\bso (?:long|late|often|many|much|few|seldom|soon)\b(?! as\b)/i, "at most 5 s, N of them"],
  [/\bmore seldom\b/i, "less often"],
];
const notPlainIn = (text: string): string[] =>
  NOT_PLAIN.flatMap(([pattern, instead]) => (pattern.test(text) ? [`${text.trim()} (${instead})`] : []));

test.each(["README.md", ...PAGES])("%s is in plain words", (page) => {
  expect(read(page).split("\n").flatMap(notPlainIn)).toEqual([]);
});

/** Strings and templates of a source, without comments and without what templates insert. */
function stringsOf(source: string): string[] {
  const tokens = source.match(/\/\*[^]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g) ?? [];
  return tokens.filter((token) => !token.startsWith("/")).map((token) => token.replaceAll(/\$\{[^}]*\}/g, ""));
}

test("what programs say is in plain words", () => {
  const files = globSync(
    ["src", "workers", "gpu-backend", "cli", "simulator"].map((room) => `${room}/**/*.{ts,tsx}`),
    { cwd: ROOT },
  );
  const found = files
    .filter((file) => !file.includes("/built/"))
    .flatMap((file) =>
      stringsOf(read(file)).flatMap((text) =>
        text
          .split("\n")
          .flatMap(notPlainIn)
          .map((said) => `${file}: ${said}`),
      ),
    );
  expect(found).toEqual([]);
});
