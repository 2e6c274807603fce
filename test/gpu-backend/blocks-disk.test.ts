import { spawnSync } from "node:child_process";
import { chmod, link, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sealBlock } from "../../gpu-backend/blocks/block.ts";
import { openDiskTier, type DiskTierOptions } from "../../gpu-backend/blocks/disk-tier.ts";
import { damagedIn, type Tier } from "../../gpu-backend/blocks/tier.ts";
import { blockOf, card, Clock, hashOf, keyOf, kvSpace, sealedOf } from "../conformance/tier-blocks.ts";
import { IN_PLACE_OF_A_FILE } from "./in-place-of-a-file.ts";

const clock = new Clock();
const SIZE = sealedOf("a").bytes.length;
let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "warmpath-disk-"));
});
afterEach(() => rm(directory, { recursive: true }));

function openTier(more: Partial<DiskTierOptions> = {}): Promise<Tier> {
  return openDiskTier({ directory, budgetBytes: 100 * SIZE, now: clock.now, kvSpace, ...more });
}

function pathOf(name: string): string {
  return join(directory, keyOf(name).slice(0, 2), keyOf(name));
}

async function files(under = directory): Promise<string[]> {
  const found = await readdir(under, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile() && !["warmpath-blocks", "owner"].includes(entry.name)).map((entry) => entry.name);
}

/** Names in the folders of blocks, whatever they are of. */
async function everything(): Promise<string[]> {
  const folders = (await readdir(directory)).filter((name) => /^[0-9a-f]{2}$/.test(name));
  return (await Promise.all(folders.map((name) => readdir(join(directory, name))))).flat();
}

it("finds its blocks again, oldest first, with their parents", async () => {
  const before = await openTier();
  for (const block of [sealedOf("a"), sealedOf("b", "a"), sealedOf("c")]) await before.put(block);
  await before.close();
  await utimes(pathOf("c"), 1, 1);
  const after = await openTier({ budgetBytes: 3 * SIZE });
  expect(after.usedBytes).toBe(3 * SIZE);
  expect([...after.keys()].toSorted()).toEqual([keyOf("a"), keyOf("b"), keyOf("c")].toSorted());
  expect(await after.get(keyOf("b"))).toEqual(sealedOf("b", "a"));
  await after.put(sealedOf("d"));
  expect(after.has(keyOf("c"))).toBe(false);
  await after.put(sealedOf("e"));
  expect([after.has(keyOf("a")), after.has(keyOf("b"))]).toEqual([true, false]);
});

it("keeps within a budget that became smaller", async () => {
  const before = await openTier();
  for (const name of ["a", "b", "c", "d"]) await before.put(sealedOf(name));
  await before.close();
  const after = await openTier({ budgetBytes: 2 * SIZE });
  expect(after.usedBytes).toBe(2 * SIZE);
  expect(await files()).toHaveLength(2);
});

it("deletes at open what is no block of this engine, and what a crash left half written", async () => {
  const before = await openTier();
  for (const name of ["a", "b", "c"]) await before.put(sealedOf(name));
  await before.close();
  await truncate(pathOf("a"), 50);
  const foreign = blockOf("f");
  await mkdir(join(directory, foreign.key.slice(0, 2)), { recursive: true });
  await writeFile(pathOf("f"), sealBlock(foreign, { ...card, kvSpace: hashOf("other weights"), parent: null }).bytes);
  await writeFile(join(directory, keyOf("b").slice(0, 2), "notes.txt"), "hello");
  await writeFile(join(directory, "incoming", "7"), sealedOf("g").bytes.subarray(0, 60));
  await writeFile(pathOf("b"), sealedOf("c").bytes);
  // Not only in the folders of blocks: the mark says that whatever is put here is deleted.
  await mkdir(join(directory, "thesis", "chapter 1"), { recursive: true });
  await writeFile(join(directory, "thesis", "chapter 1", "draft"), "years of work");
  await writeFile(join(directory, "zz"), "a file");
  await writeFile(join(directory, "0f"), "a file that is called as a folder of blocks").catch(() => undefined);
  await mkdir(join(directory, keyOf("c").slice(0, 2), `${keyOf("c").slice(0, 2)}${"0".repeat(62)}`, "deep"), { recursive: true });
  const after = await openTier();
  expect([...after.keys()]).toEqual([keyOf("c")]);
  expect(await files()).toEqual([keyOf("c")]);
  const left = (await readdir(directory)).filter((name) => !/^[0-9a-f]{2}$/.test(name));
  expect(left.toSorted()).toEqual(["incoming", "owner", "warmpath-blocks"]);
  // Cut, of other weights, no key for a name, another block; a folder in place of a block, and a file in place of a folder.
  expect(after.counters.damaged).toMatchObject({ length: 1, kv_space: 1, key: 2, not_a_file: 2 });
  expect(damagedIn(after.counters)).toBe(6);
});

it("does not touch a directory that has other things in it", async () => {
  await writeFile(join(directory, "thesis.doc"), "years of work");
  await expect(openTier()).rejects.toThrow("other things");
  expect(await readFile(join(directory, "thesis.doc"), "utf8")).toBe("years of work");
});

it("refuses when others have filled the disk, leaves nothing behind, and goes on later", async () => {
  let full = true;
  const writeNew = async (path: string, bytes: Uint8Array): Promise<void> => {
    await writeFile(path, full ? bytes.subarray(0, 50) : bytes);
    if (full) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  };
  const tier = await openTier({ writeNew });
  expect(await tier.put(sealedOf("a"))).toBe("refused");
  expect(tier.counters).toMatchObject({ refused: 1, errors: 0, full: 1 });
  expect([tier.usedBytes, await files()]).toEqual([0, []]);
  full = false;
  expect(await tier.put(sealedOf("a"))).toBe("refused");
  clock.ms += 30_000;
  expect(await tier.put(sealedOf("a"))).toBe("stored");
});

it("keeps the newest blocks on a disk that is really full, and nothing half written", async (test) => {
  const size = 256 * 1024;
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory]).status !== 0) test.skip("may not mount");
  try {
    const tier = await openTier({ budgetBytes: 100 * size });
    const outcomes: string[] = [];
    for (let n = 0; n < 16; n++) outcomes.push(await tier.put(sealedOf(`x${n}`, null, 1_000)));
    expect(outcomes).toEqual(Array.from({ length: 16 }, () => "stored"));
    const held = [...tier.keys()];
    expect(held.length).toBeGreaterThan(4);
    expect(held).toEqual(Array.from({ length: held.length }, (_, n) => keyOf(`x${16 - held.length + n}`)));
    expect(await files()).toHaveLength(held.length);
    for (const key of tier.keys()) expect((await tier.get(key))?.key).toBe(key);
  } finally {
    spawnSync("umount", [directory]);
  }
});

it("forgets what was deleted, cut, grown or overwritten under it", async () => {
  const tier = await openTier();
  for (const name of ["a", "b", "c", "d", "e"]) await tier.put(sealedOf(name));
  await rm(pathOf("a"));
  await truncate(pathOf("b"), SIZE - 1);
  await truncate(pathOf("c"), 1e9);
  await writeFile(pathOf("d"), sealedOf("e").bytes);
  for (const name of ["a", "b", "c", "d"]) {
    expect(await tier.get(keyOf(name)), name).toBeNull();
    expect(tier.has(keyOf(name))).toBe(false);
  }
  expect([tier.usedBytes, await files()]).toEqual([SIZE, [keyOf("e")]]);
  expect(tier.counters).toMatchObject({ misses: 4, errors: 1, damaged: { length: 2, key: 1 } });
});

describe.each(Object.entries(IN_PLACE_OF_A_FILE))("%s in place of a block", (_what, put) => {
  const outside = join(tmpdir(), `warmpath-outside-${process.pid}`);
  beforeEach(() => writeFile(outside, sealedOf("a").bytes));
  afterEach(async () => {
    expect(await readFile(outside)).toEqual(Buffer.from(sealedOf("a").bytes));
    await rm(outside);
  });

  it("is counted and removed when it is read, and the next block has the name", async () => {
    const tier = await openTier();
    for (const name of ["a", "b"]) await tier.put(sealedOf(name));
    await rm(pathOf("a"));
    await put(pathOf("a"), outside);
    // As many as would keep all threads of file operations.
    expect(await Promise.all(Array.from({ length: 8 }, () => tier.get(keyOf("a"))))).toEqual(Array.from({ length: 8 }, () => null));
    expect([tier.has(keyOf("a")), tier.usedBytes, await everything()]).toEqual([false, SIZE, [keyOf("b")]]);
    expect(tier.counters.damaged.not_a_file).toBeGreaterThanOrEqual(1);
    expect(tier.counters.errors).toBe(0);
    expect(await tier.put(sealedOf("a"))).toBe("stored");
    expect(await tier.get(keyOf("a"))).toEqual(sealedOf("a"));
    expect(tier.usedBytes).toBe(2 * SIZE);
  });

  it("is counted and removed at the start", async () => {
    const before = await openTier();
    for (const name of ["a", "b"]) await before.put(sealedOf(name));
    await before.close();
    await rm(pathOf("a"));
    await put(pathOf("a"), outside);
    const after = await openTier();
    expect([[...after.keys()], after.usedBytes, await everything()]).toEqual([[keyOf("b")], SIZE, [keyOf("b")]]);
    expect(after.counters.damaged.not_a_file).toBe(1);
  });

  it("is removed when the block is evicted", async () => {
    const tier = await openTier({ budgetBytes: SIZE });
    await tier.put(sealedOf("a"));
    await rm(pathOf("a"));
    await put(pathOf("a"), outside);
    expect(await tier.put(sealedOf("b"))).toBe("stored");
    expect([tier.usedBytes, tier.counters.errors, await everything()]).toEqual([SIZE, 0, [keyOf("b")]]);
  });

  it("is replaced by a write, also where it has the name of the file on its way or of a folder", async () => {
    const tier = await openTier();
    await tier.put(sealedOf("b"));
    await mkdir(dirname(pathOf("a")), { recursive: true });
    await put(pathOf("a"), outside);
    for (let n = 0; n < 4; n++) await put(join(directory, "incoming", String(n)), outside);
    expect(await tier.put(sealedOf("a"))).toBe("stored");
    expect((await lstat(pathOf("a"))).isFile()).toBe(true);
    await rm(join(directory, "incoming"), { recursive: true });
    await put(join(directory, "incoming"), outside);
    await rm(dirname(pathOf("c")), { recursive: true, force: true });
    await put(dirname(pathOf("c")), outside).catch(() => undefined);
    expect(await tier.put(sealedOf("c"))).toBe("stored");
    for (const name of ["a", "b", "c"]) expect(await tier.get(keyOf(name)), name).toEqual(sealedOf(name));
    expect(tier.usedBytes).toBe(3 * SIZE);
  });
});

it("follows no link in place of its folders, and removes nothing behind it", async () => {
  const tier = await openTier();
  for (const name of ["a", "b"]) await tier.put(sealedOf(name));
  const elsewhere = await mkdtemp(join(tmpdir(), "warmpath-elsewhere-"));
  try {
    await rename(dirname(pathOf("a")), join(elsewhere, "folder"));
    await symlink(join(elsewhere, "folder"), dirname(pathOf("a")));
    expect(await tier.get(keyOf("a"))).toBeNull();
    expect([tier.usedBytes, tier.counters.damaged.not_a_file, tier.counters.errors]).toEqual([SIZE, 1, 0]);
    expect(await readdir(join(elsewhere, "folder"))).toEqual([keyOf("a")]);
    await mkdir(join(elsewhere, "incoming"));
    await rm(join(directory, "incoming"), { recursive: true });
    await symlink(join(elsewhere, "incoming"), join(directory, "incoming"));
    expect(await tier.put(sealedOf("a"))).toBe("stored");
    expect(await tier.get(keyOf("a"))).toEqual(sealedOf("a"));
    expect((await lstat(join(directory, "incoming"))).isDirectory()).toBe(true);
    await tier.close();
    await rename(dirname(pathOf("b")), join(elsewhere, "other"));
    await symlink(join(elsewhere, "other"), dirname(pathOf("b")));
    const after = await openTier();
    expect([[...after.keys()], after.counters.damaged.not_a_file]).toEqual([[keyOf("a")], 1]);
    expect(await readdir(join(elsewhere, "other"))).toEqual([keyOf("b")]);
  } finally {
    await rm(elsewhere, { recursive: true });
  }
});

it("goes on where its whole directory was deleted, and is found again", async () => {
  const tier = await openTier();
  await tier.put(sealedOf("a"));
  await rm(directory, { recursive: true });
  expect(await tier.get(keyOf("a"))).toBeNull();
  expect([await tier.put(sealedOf("b")), tier.usedBytes]).toEqual(["stored", SIZE]);
  await tier.close();
  expect([...(await openTier()).keys()]).toEqual([keyOf("b")]);
});

it("removes its own name of a file that has another, longer or shorter, and leaves that", async () => {
  const tier = await openTier();
  await tier.put(sealedOf("a"));
  const outside = join(directory, "incoming", "outside");
  await writeFile(outside, "somebody else's");
  await rm(pathOf("a"));
  await link(outside, pathOf("a"));
  expect(await tier.get(keyOf("a"))).toBeNull();
  expect(tier.counters.damaged.length).toBe(1);
  expect([await files(), await readFile(outside, "utf8")]).toEqual([["outside"], "somebody else's"]);
});

it("leaves what can be neither read nor removed, counts it, and keeps the rest", async (test) => {
  if (process.getuid?.() === 0) test.skip("root may do everything");
  const before = await openTier();
  for (const name of ["a", "b"]) await before.put(sealedOf(name));
  await chmod(pathOf("a"), 0);
  expect(await before.get(keyOf("a"))).toBeNull();
  expect([before.counters.errors, before.usedBytes, await files()]).toEqual([1, SIZE, [keyOf("b")]]);
  await before.close();
  await mkdir(join(directory, "0f"), { recursive: true });
  await chmod(join(directory, "0f"), 0);
  const after = await openTier();
  await chmod(join(directory, "0f"), 0o700);
  expect([[...after.keys()], after.counters.errors]).toEqual([[keyOf("b")], 1]);
});

it("leaks no file handle", async () => {
  const tier = await openTier();
  const handles = async (): Promise<number> => (await readdir("/proc/self/fd").catch(() => [])).length;
  const before = await handles();
  for (let n = 0; n < 30; n++) await tier.put(sealedOf(`x${n}`));
  await Promise.all(Array.from({ length: 30 }, (_, n) => tier.get(keyOf(`x${n}`))));
  await truncate(pathOf("x3"), 3);
  await tier.get(keyOf("x3"));
  expect(await handles()).toBe(before);
});
