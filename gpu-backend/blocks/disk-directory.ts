/** The directory of a disk tier: who uses it, what marks it as ours, and what lies in it at the start. */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EngineKey } from "../engine/engine.ts";
import { isEngineKey } from "./block.ts";
import { inspectFile } from "./block-files.ts";
import { OWNER, ownDirectory } from "./directory-owner.ts";
import type { TierCounters } from "./tier.ts";

const MARK = "warmpath-blocks";
/** Where files are written before they get their names. */
export const INCOMING = "incoming";
/** Of file systems: what lies at the root of one. */
const LOST_AND_FOUND = "lost+found";
const READ_AT_ONCE = 16;

/** Rejects when the directory can't be made or read, has other things in it, or is used by another replica. What it returns gives the directory up. */
export async function claimDirectory(directory: string): Promise<() => Promise<void>> {
  await mkdir(directory, { recursive: true });
  const names = await readdir(directory);
  if (!names.includes(MARK)) {
    if (names.some((name) => name !== LOST_AND_FOUND))
      throw new Error(`${directory} has other things in it: the disk tier needs a directory of its own`);
    await mark(directory);
  }
  return ownDirectory(directory);
}

export async function mark(directory: string): Promise<void> {
  const text = "KV blocks of one Warmpath replica. Whatever else is put here is deleted.\n";
  try {
    await writeFile(join(directory, MARK), text, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

interface FoundBlock {
  key: EngineKey;
  parent: EngineKey | null;
  bytes: number;
  mtimeMs: number;
}

/**
 * The blocks of this space, oldest first; whatever else lies there is counted and removed. One thing that can't be read or removed does not keep the tier from the
 * others. Rejects when the directory itself can't be read or written to.
 */
export async function findBlocks(directory: string, kvSpace: string, counters: TierCounters): Promise<FoundBlock[]> {
  await rm(join(directory, INCOMING), { recursive: true, force: true });
  await mkdir(join(directory, INCOMING));
  const found: FoundBlock[] = [];
  for (const folder of await blockFolders(directory, counters)) {
    const names = (await unlessFails(readdir(join(directory, folder)), counters)) ?? [];
    const readOn = async (): Promise<void> => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        const file = join(directory, folder, name);
        const inspected = isEngineKey(name) && name.startsWith(folder) ? inspectFile(file, name, kvSpace) : "key";
        const block = typeof inspected === "string" ? inspected : await unlessFails(inspected, counters);
        if (block !== null && typeof block !== "string") {
          found.push({ key: block.key, parent: block.parent, bytes: block.totalBytes, mtimeMs: block.mtimeMs });
          continue;
        }
        if (block !== null) counters.damaged[block]++;
        await unlessFails(rm(file, { recursive: true, force: true }), counters);
      }
    };
    await Promise.all(Array.from({ length: READ_AT_ONCE }, readOn));
  }
  return found.toSorted((one, other) => one.mtimeMs - other.mtimeMs);
}

/** Whatever else lies beside them goes, as the mark says. */
async function blockFolders(directory: string, counters: TierCounters): Promise<string[]> {
  const folders: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if ([MARK, OWNER, INCOMING, LOST_AND_FOUND].includes(entry.name)) continue;
    const isOurs = /^[0-9a-f]{2}$/.test(entry.name);
    if (isOurs && entry.isDirectory()) {
      folders.push(entry.name);
      continue;
    }
    if (isOurs) counters.damaged.not_a_file++;
    await unlessFails(rm(join(directory, entry.name), { recursive: true, force: true }), counters);
  }
  return folders;
}

/** Null: it failed, which is counted. */
async function unlessFails<Result>(work: Promise<Result>, counters: TierCounters): Promise<Result | null> {
  try {
    return await work;
  } catch {
    counters.errors++;
    return null;
  }
}
