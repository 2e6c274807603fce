/**
 * Files that are opened by name in a directory where somebody may have put something else under that name. No link is followed, and no open waits: by itself, opening a
 * FIFO waits until somebody writes to it, and with it waits one of the few threads of all file operations, or the whole process.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

const { O_NOFOLLOW, O_NONBLOCK } = constants;
/** What open(2) says of a link; of a socket, or a FIFO that nobody reads; of a device without a driver; of a directory that would be written to. */
const SOMETHING_ELSE: ReadonlySet<string | undefined> = new Set(["ELOOP", "EMLINK", "ENXIO", "ENODEV", "EISDIR"]);

function isSomethingElse(error: unknown): boolean {
  return SOMETHING_ELSE.has((error as NodeJS.ErrnoException).code);
}

/** Null: something else than a regular file has that name. Rejects as open does. */
export async function openRegular(path: string): Promise<FileHandle | null> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isSomethingElse(error)) return null;
    throw error;
  }
  try {
    if ((await file.stat()).isFile()) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return null;
}

/** A descriptor. `access`: O_RDONLY or O_WRONLY, with O_APPEND or not. Null: something else than a regular file has that name. Throws as open does. */
export function openRegularSync(path: string, access: number): number | null {
  let file: number;
  try {
    file = openSync(path, access | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isSomethingElse(error)) return null;
    throw error;
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  return null;
}

/** The first `mostBytes` of a file. Null: something else than a regular file has that name. Throws as open and read do. */
export function readRegularSync(path: string, mostBytes: number): Buffer | null {
  const file = openRegularSync(path, constants.O_RDONLY);
  if (file === null) return null;
  try {
    const bytes = Buffer.alloc(Math.min(fstatSync(file).size, mostBytes));
    let at = 0;
    for (let read = -1; read !== 0 && at < bytes.length; at += read) read = readSync(file, bytes, at, bytes.length - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(file);
  }
}
