/** The files of the disk tier: written durably, read within bounds, and looked at when they are found again. */
import { open } from "node:fs/promises";
import type { EngineKey } from "../engine/engine.ts";
import { type BlockFault, type BlockHeader, HEADER_BYTES, readHeader } from "./block.ts";

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
export async function readWhole(path: string, expected: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const bytes = new Uint8Array(Math.min(size, expected));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return size === expected ? bytes.subarray(0, bytesRead) : bytes.subarray(0, 0);
  } finally {
    await file.close();
  }
}

/** Null: the signal was first. A read can't be taken back, but nobody waits for it. */
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
    // What fails when nobody waits any more is nobody's.
    work.catch(() => undefined);
  }
}

/** What a file says it is, or what contradicts its name, its size or the engine. */
export async function inspectFile(
  path: string,
  key: EngineKey,
  kvSpace: string,
): Promise<(BlockHeader & { mtimeMs: number }) | BlockFault> {
  try {
    const file = await open(path, "r");
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
  } catch {
    // A folder, or the disk fails.
    return "length";
  }
}
