/** The directory of one launcher: what makes it usable, who may read in it, and who uses it. */
import { randomUUID } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { readRegularSync } from "../gpu-backend/regular-file.ts";

/** What the launcher and its children make in it. The directory may hold others' files, which are left as they are. */
const OURS =
  /^(secret|log|log\.1|dev\.json|launcher\.json|dev\.vars|objects|blocks|compile-cache|wrangler|registry|edge-[0-9a-f]{16}.*|warmpath-demo-.*\.gguf)$/;
/** As much as a start writes at least; a disk with less is called full at once. */
const PROBE_BYTES = 64 * 1024;
const HOLDER = "launcher.json";
/** Of a small file: longer than what any launcher writes. */
export const MOST_BYTES = 1024 * 1024;

type Opened = { ok: true } | { ok: false; message: string };

/** Makes the directory where there is none, and what lies in it this user's alone: 0600 and 0700. */
export function openStateDirectory(directory: string): Opened {
  try {
    makeDirectory(directory);
    const probe = join(directory, `.probe-${randomUUID()}`);
    try {
      writeFileSync(probe, Buffer.alloc(PROBE_BYTES), { flag: "wx", mode: 0o600 });
    } finally {
      rmSync(probe, { force: true });
    }
    for (const name of readdirSync(directory)) if (OURS.test(name)) tighten(join(directory, name));
    return { ok: true };
  } catch (error) {
    return { ok: false, message: unusable(directory, error) };
  }
}

/** As Node's own with `recursive`, which never returns where a file system makes nothing, as /proc. */
function makeDirectory(directory: string): void {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return;
  if (dirname(directory) !== directory) makeDirectory(dirname(directory));
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    // Another one made it meanwhile.
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}

/** Whether the state directory is what fails: a write that fails names no path. */
function isOfDirectory(directory: string, error: unknown): boolean {
  const { code, path } = error as NodeJS.ErrnoException;
  return code !== undefined && Object.hasOwn(WHY, code) && (path === undefined || path.startsWith(directory));
}

export const logFile = (directory: string): string => join(directory, "log");

/** One sentence for what the file system said. */
export function unusable(directory: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return `The state directory ${directory} can't be used: ${WHY[code ?? ""] ?? message}. Choose another with --state.`;
}

/** As one line. */
export function problemOf(stateDirectory: string, error: unknown, what: string): string {
  if (isOfDirectory(stateDirectory, error)) return unusable(stateDirectory, error);
  return `${what}: ${(error instanceof Error ? error.message : String(error)).split("\n", 1)[0]}`;
}

const READ_ONLY = "it can't be written to";
const FULL = "its disk is full";
const NOT_A_DIRECTORY = "it is no directory";
const WHY: Readonly<Record<string, string>> = {
  EACCES: READ_ONLY,
  EPERM: READ_ONLY,
  EROFS: READ_ONLY,
  ENOSPC: FULL,
  EDQUOT: FULL,
  EFBIG: FULL,
  EEXIST: NOT_A_DIRECTORY,
  ENOTDIR: NOT_A_DIRECTORY,
  ENOENT: "it can't be made",
};

/** A link is somebody's will; what it leads to may not be ours. */
function tighten(path: string): void {
  const found = lstatSync(path);
  if (found.isSymbolicLink()) return;
  const mode = found.isDirectory() ? 0o700 : 0o600;
  if ((found.mode & 0o777) !== mode) chmodSync(path, mode);
}

/** The file is there in whole or not at all, is this user's alone, and no link is followed. */
export function writePrivately(file: string, text: string): void {
  const temporary = `${file}.${randomUUID()}`;
  try {
    writeFileSync(temporary, text, { flag: "wx", mode: 0o600, flush: true });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

interface Holder {
  pid: number;
  /** Of its edge. */
  url: string;
}

export type Claim = { ok: true; hold(holder: Holder): void; release(): void } | { ok: false; holder: Holder | null };

/**
 * One launcher at a time. The claim is a name that the kernel gives one process and takes back when that ends, however it ends: an abstract
 * socket, named after the directory itself and not its path. It holds within one network namespace; elsewhere than on Linux it holds nobody off.
 */
export async function claimStateDirectory(directory: string): Promise<Claim> {
  const file = join(directory, HOLDER);
  const { dev, ino } = statSync(directory, { bigint: true });
  const server = createServer((socket) => void socket.destroy());
  const taken = await new Promise<boolean>((resolve, reject) => {
    if (process.platform !== "linux") return resolve(false);
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? resolve(true) : reject(error)));
    server.listen(`\0warmpath-state-${dev}-${ino}`, () => resolve(false));
  });
  if (taken) return { ok: false, holder: readHolder(file) };
  server.unref();
  // Of one that was killed, or whatever else has its name.
  rmSync(file, { recursive: true, force: true });
  return {
    ok: true,
    hold: (holder) => writePrivately(file, `${JSON.stringify(holder)}\n`),
    release: () => rmSync(file, { force: true }),
  };
}

/** Null when the other one has not come to write it. */
function readHolder(file: string): Holder | null {
  try {
    const { pid, url } = JSON.parse(String(readRegularSync(file, MOST_BYTES))) as Partial<Holder>;
    return typeof pid === "number" && typeof url === "string" ? { pid, url } : null;
  } catch {
    return null;
  }
}
