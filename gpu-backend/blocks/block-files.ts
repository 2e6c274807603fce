/** The files of the disk tier: written durably, read within bounds, and looked at when they are found again. */
import { type FileHandle, lstat, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { EngineKey } from "../engine/engine.ts";
import { openRegular } from "../regular-file.ts";
import { type BlockFault, type BlockHeader, HEADER_BYTES, readHeader } from "./block.ts";

/** What stands where a folder is wanted. A link is something else, wherever it leads. */
type InPlaceOfFolder = "folder" | "nothing" | "something";

async function inPlaceOfFolder(path: string): Promise<InPlaceOfFolder> {
  try {
    return (await lstat(path)).isDirectory() ? "folder" : "something";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "nothing";
    throw error;
  }
}

/** Makes a folder where there is none, and says what was there. Something else is removed: of a link, the link. */
export async function makeFolder(path: string): Promise<InPlaceOfFolder> {
  const found = await inPlaceOfFolder(path);
  if (found === "something") await rm(path, { force: true });
  if (found !== "folder") await mkdir(path, { recursive: true });
  return found;
}

/** Removes what has the name, whatever it is, and says what its folder was. If that is something else, it is removed instead: behind a link are others' files. */
export async function removeWhatever(path: string): Promise<InPlaceOfFolder> {
  const folder = dirname(path);
  const found = await inPlaceOfFolder(folder);
  await rm(found === "folder" ? path : folder, { recursive: true, force: true });
  return found;
}

/** Removes what has the name unless it is a file, which a rename replaces. True: something was removed. */
export async function clearForFile(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => null);
  if (found === null || found.isFile()) return false;
  await rm(path, { recursive: true, force: true });
  return true;
}

/** To a file that does not exist yet. */
export async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** No more than the block is long, whatever the file has become. */
export async function readWhole(path: string, expected: number): Promise<Uint8Array | BlockFault> {
  const file = await openBlockFile(path);
  if (file === null) return "not_a_file";
  try {
    const { size } = await file.stat();
    const bytes = new Uint8Array(Math.min(size, expected));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return size === expected ? bytes.subarray(0, bytesRead) : bytes.subarray(0, 0);
  } finally {
    await file.close();
  }
}

/** Null: the signal aborted first. The read goes on, but its result is dropped. */
export async function unlessAborted<Result>(work: Promise<Result>, signal: AbortSignal | undefined): Promise<Result | null> {
  if (signal === undefined) return work;
  const aborted = Promise.withResolvers<null>();
  const abort = (): void => aborted.resolve(null);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
    // A failure after the abort is ignored: no caller waits for it.
    work.catch(() => undefined);
  }
}

/** Null: it is no file, or its folder is none. */
async function openBlockFile(path: string): Promise<FileHandle | null> {
  return (await inPlaceOfFolder(dirname(path))) === "something" ? null : openRegular(path);
}

/** What a file says it is, or what contradicts its name, its size or the engine. Rejects when it can't be read. */
export async function inspectFile(
  path: string,
  key: EngineKey,
  kvSpace: string,
): Promise<(BlockHeader & { mtimeMs: number }) | BlockFault> {
  const file = await openBlockFile(path);
  if (file === null) return "not_a_file";
  try {
    const stat = await file.stat();
    const { bytesRead, buffer } = await file.read(new Uint8Array(HEADER_BYTES), 0, HEADER_BYTES, 0);
    const read = readHeader(buffer.subarray(0, bytesRead));
    if (!read.ok) return read.why;
    if (read.header.kvSpace !== kvSpace) return "kv_space";
    if (read.header.key !== key) return "key";
    return read.header.totalBytes === stat.size ? { ...read.header, mtimeMs: stat.mtimeMs } : "length";
  } finally {
    await file.close();
  }
}
