import { appendFileSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { AnchorLog } from "../../gpu-backend/anchor-log.ts";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { IN_PLACE_OF_A_FILE } from "./in-place-of-a-file.ts";

const directory = mkdtempSync(join(tmpdir(), "warmpath-anchors-"));
const file = join(directory, "anchors");
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const keyOf = (n: number): EngineKey => n.toString(16).padStart(64, "0") as EngineKey;
const anchorsOf = (log: AnchorLog) => [...log.anchors()].map(({ key, hash, tokens }) => [key, hash, tokens]);

test("anchors of blocks that are still held come back, those of others are gone", () => {
  const first = new AnchorLog(file, () => true);
  first.add([
    { key: keyOf(1), hash: 10n, tokens: 40 },
    { key: keyOf(1), hash: 11n, tokens: 60 },
    { key: keyOf(2), hash: 2n ** 64n - 1n, tokens: 90 },
  ]);
  first.add([{ key: keyOf(1), hash: 10n, tokens: 40 }]);
  expect(readFileSync(file).length).toBe(3 * 48);
  const again = new AnchorLog(file, (key) => key === keyOf(2));
  expect(anchorsOf(again)).toEqual([[keyOf(2), 2n ** 64n - 1n, 90]]);
  expect(readFileSync(file).length).toBe(48);
});

test("a torn end and a damaged record are skipped, the rest is kept", () => {
  const log = new AnchorLog(file, () => true);
  log.add([1, 2, 3].map((n) => ({ key: keyOf(n), hash: BigInt(n), tokens: n })));
  const bytes = readFileSync(file);
  bytes[50] = (bytes[50] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  appendFileSync(file, Buffer.alloc(20, 7));
  expect(anchorsOf(new AnchorLog(file, () => true)).map(([, hash]) => hash)).toEqual([1n, 3n]);
});

test("what a disk that fails did not take is written when it works again", () => {
  const clock = { ms: 0 };
  const one = (n: number) => [{ key: keyOf(n), hash: BigInt(n), tokens: n }];
  const log = new AnchorLog(
    file,
    () => true,
    () => clock.ms,
  );
  log.add(one(1));
  rmSync(directory, { recursive: true });
  for (const n of [2, 3, 4]) log.add(one(n));
  mkdirSync(directory);
  // As a disk that took half of a record would leave it.
  writeFileSync(file, Buffer.alloc(20, 7));
  clock.ms += 60_000;
  log.add(one(5));
  expect(anchorsOf(new AnchorLog(file, () => true)).map(([, hash]) => hash)).toEqual([1n, 2n, 3n, 4n, 5n]);
});

test.each(Object.entries(IN_PLACE_OF_A_FILE))(
  "%s in the file's place, or in that of the next one, is replaced and never followed",
  async (_what, put) => {
    mkdirSync(directory, { recursive: true });
    const others = join(directory, "others");
    writeFileSync(others, "somebody else's");
    const one = (n: number) => [{ key: keyOf(n), hash: BigInt(n), tokens: n }];
    // At the start, and while it runs.
    await put(file, others);
    await put(`${file}.new`, others);
    const log = new AnchorLog(file, () => true);
    log.add(one(1));
    rmSync(file, { recursive: true });
    await put(file, others);
    await put(`${file}.new`, others);
    log.add(one(2));
    log.add(one(3));
    expect(lstatSync(file).isFile()).toBe(true);
    expect(anchorsOf(new AnchorLog(file, () => true)).map(([, hash]) => hash)).toEqual([1n, 2n, 3n]);
    expect(readFileSync(others, "utf8")).toBe("somebody else's");
  },
);
