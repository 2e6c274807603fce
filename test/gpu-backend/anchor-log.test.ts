import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { AnchorLog } from "../../gpu-backend/anchor-log.ts";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";

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

test("what a full disk did not take is written when it has room again", (context) => {
  if (!existsSync("/dev/full")) context.skip("this system has no /dev/full");
  mkdirSync(directory, { recursive: true });
  const clock = { ms: 0 };
  const one = (n: number) => [{ key: keyOf(n), hash: BigInt(n), tokens: n }];
  const log = new AnchorLog(
    file,
    () => true,
    () => clock.ms,
  );
  log.add(one(1));
  // Whatever is written here finds no space left on the device.
  rmSync(file);
  symlinkSync("/dev/full", file);
  symlinkSync("/dev/full", `${file}.new`);
  for (const n of [2, 3, 4]) log.add(one(n));
  rmSync(file);
  // As a disk that took half of a record would leave it.
  writeFileSync(file, Buffer.alloc(20, 7));
  clock.ms += 60_000;
  log.add(one(5));
  expect(anchorsOf(new AnchorLog(file, () => true)).map(([, hash]) => hash)).toEqual([1n, 2n, 3n, 4n, 5n]);
});
