import { fork } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { OWNER, ownDirectory } from "../../gpu-backend/blocks/directory-owner.ts";
import { IN_PLACE_OF_A_FILE } from "./in-place-of-a-file.ts";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "warmpath-owner-"));
});
afterEach(() => rm(directory, { recursive: true }));

const owner = () => readFile(join(directory, OWNER), "utf8").then((text) => JSON.parse(text) as { pid: number; host: string });
const write = (pid: number, host: string): Promise<void> => writeFile(join(directory, OWNER), JSON.stringify({ pid, host }));

it("is refused while another process renews it, and free as soon as that was killed", async () => {
  const child = fork(fileURLToPath(new URL("directory-child.ts", import.meta.url)), [directory], { execArgv: [] });
  try {
    await once(child, "message");
    await expect(ownDirectory(directory)).rejects.toThrow(`is used by another replica: process ${child.pid} on `);
    child.kill("SIGKILL");
    await once(child, "exit");
    const disown = await ownDirectory(directory);
    expect((await owner()).pid).toBe(process.pid);
    await disown();
    await expect(owner()).rejects.toThrow("ENOENT");
  } finally {
    child.kill("SIGKILL");
  }
});

it("is taken over from another machine once it is not renewed, and at once where that was long ago or nobody is named", async () => {
  const times = { renewMs: 40, staleMs: 300 };
  await write(1, "another-machine");
  const disown = await ownDirectory(directory, times);
  expect((await owner()).pid).toBe(process.pid);
  await disown();
  await write(1, "another-machine");
  await utimes(join(directory, OWNER), 1, 1);
  await (
    await ownDirectory(directory)
  )();
  await writeFile(join(directory, OWNER), "no JSON");
  await (
    await ownDirectory(directory)
  )();
});

it("is left to who took it over meanwhile", async () => {
  const disown = await ownDirectory(directory);
  await write(1, "another-machine");
  await disown();
  expect(await owner()).toEqual({ pid: 1, host: "another-machine" });
});

it.each(Object.entries(IN_PLACE_OF_A_FILE))(
  "is free where %s has the owner's name, which is replaced and never followed",
  async (_what, put) => {
    const others = join(directory, "others");
    await writeFile(others, "somebody else's");
    await utimes(others, 1, 1);
    await put(join(directory, OWNER), others);
    const disown = await ownDirectory(directory);
    expect((await lstat(join(directory, OWNER))).isFile()).toBe(true);
    expect((await owner()).pid).toBe(process.pid);
    await disown();
    await expect(owner()).rejects.toThrow("ENOENT");
    expect([await readFile(others, "utf8"), (await stat(others)).mtimeMs]).toEqual(["somebody else's", 1_000]);
  },
);
