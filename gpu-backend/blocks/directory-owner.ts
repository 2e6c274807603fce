/**
 * One process at a time uses a directory: its name stands in a file whose time it renews. Whoever finds the file of a process that has ended takes it over; so does
 * whoever sees it not renewed for long, since ends on other machines, and other processes that got the same number, can't be told otherwise.
 */
import { randomUUID } from "node:crypto";
import { lstat, lutimes, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openRegular } from "../regular-file.ts";

export const OWNER = "owner";

interface OwnerTimes {
  renewMs: number;
  /** A claim that was not renewed for this time has no owner. */
  staleMs: number;
}

const TIMES: OwnerTimes = { renewMs: 2_000, staleMs: 10_000 };

interface Owner {
  pid: number;
  host: string;
}

/** Longer than what any owner writes. */
const MAX_BYTES = 4_096;

/** Rejects when another one uses it, saying which. What it returns gives the directory up. */
export async function ownDirectory(directory: string, { renewMs, staleMs }: OwnerTimes = TIMES): Promise<() => Promise<void>> {
  const file = join(directory, OWNER);
  const own = JSON.stringify({ pid: process.pid, host: hostname(), life: randomUUID() });
  /** Who was frozen for long may have been taken for gone. */
  const isOurs = async (): Promise<boolean> => (await read(file)) === own;
  while (!(await created(file, own))) {
    const other = await endedOrOther(file, renewMs, staleMs);
    if (other !== null) throw new Error(`${directory} is used by another replica: process ${other.pid} on ${other.host}`);
    await rm(file, { recursive: true, force: true });
  }
  let renewing = false;
  const renewOnce = async (): Promise<void> => {
    // A disk that hangs holds one of these, not one more each time.
    if (renewing) return;
    renewing = true;
    await renew(file, own);
    renewing = false;
  };
  const timer = setInterval(() => void renewOnce(), renewMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    if (await isOurs()) await rm(file, { force: true });
  };
}

async function created(file: string, own: string): Promise<boolean> {
  try {
    await writeFile(file, own, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Empty: there is no such file, it can't be read, or something else has its name. */
async function read(file: string): Promise<string> {
  const opened = await openRegular(file).catch(() => null);
  if (opened === null) return "";
  try {
    const { buffer, bytesRead } = await opened.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } catch {
    return "";
  } finally {
    await opened.close();
  }
}

/** Deleted by hand, something else in its place, or the disk fails: then nothing is kept from others. */
async function renew(file: string, own: string): Promise<void> {
  const now = new Date();
  try {
    if ((await read(file)) === own) await lutimes(file, now, now);
  } catch {
    // The next time may find it better.
  }
}

/** Null when no other process owns the directory. */
async function endedOrOther(file: string, renewMs: number, staleMs: number): Promise<Owner | null> {
  const owner = parse(await read(file));
  if (owner === null || hasEnded(owner)) return null;
  const first = await renewedAtMs(file);
  for (;;) {
    const last = await renewedAtMs(file);
    if (last === null || Date.now() - last > staleMs) return null;
    if (last !== first) return owner;
    await sleep(renewMs / 4);
  }
}

const renewedAtMs = (file: string): Promise<number | null> =>
  lstat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => null,
  );

function parse(text: string): Owner | null {
  try {
    const { pid, host } = JSON.parse(text) as Partial<Owner>;
    return typeof pid === "number" && Number.isInteger(pid) && pid > 0 && typeof host === "string" ? { pid, host } : null;
  } catch {
    return null;
  }
}

/** Of this machine: no process has its number, or it is this one's, which was another's before. */
function hasEnded({ pid, host }: Owner): boolean {
  if (host !== hostname()) return false;
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
