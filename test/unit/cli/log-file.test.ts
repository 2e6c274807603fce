import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LogFile } from "../../../cli/log-file.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "warmpath-log-"));
  file = join(folder, "log");
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (): Date => new Date(0);

it("has a line for each line, with the time and who said it, behind what was there", () => {
  new LogFile(file, [], 1_000, at).write("edge", "one\n\ntwo  ");
  new LogFile(file, [], 1_000, at).write("replica-1", "three");
  expect(readFileSync(file, "utf8")).toBe(
    ["edge one", "edge two", "replica-1 three", ""].map((line) => (line === "" ? "" : `1970-01-01T00:00:00.000Z ${line}`)).join("\n"),
  );
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

it("never has a secret in it, and no line without a bound", () => {
  const log = new LogFile(file, ["wp_key", "the-secret"], 100_000, at);
  log.write("edge", "\x1b[31mBearer wp_key\x1b[0m of the-secret and wp_key");
  log.write("edge", "x".repeat(50_000));
  const text = readFileSync(file, "utf8");
  expect(text).toContain("Bearer (secret) of (secret) and (secret)\n");
  expect(text.length).toBeLessThan(5_000);
});

it("is bounded: when it is full it becomes the older of two, and the one before is gone", () => {
  const log = new LogFile(file, [], 1_000, at);
  for (let line = 0; line < 200; line++) log.write("edge", `line ${line}`);
  expect(readdirSync(folder).toSorted()).toEqual(["log", "log.1"]);
  const [newer, older] = [readFileSync(file, "utf8"), readFileSync(`${file}.1`, "utf8")];
  expect([newer.length <= 1_000, older.length <= 1_000]).toEqual([true, true]);
  const numbers = (older + newer).match(/(?<=line )\d+/g)?.map(Number) ?? [];
  expect(numbers.at(-1)).toBe(199);
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
});

it("in whose place is something else is not written, and stops nobody", () => {
  mkdirSync(file);
  new LogFile(file, [], 1_000, at).write("edge", "one");
  new LogFile(join(folder, "no", "such"), [], 1_000, at).write("edge", "one");
  expect(readdirSync(folder)).toEqual(["log"]);
});
