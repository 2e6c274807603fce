/** What others can put where a file is expected. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { promisify } from "node:util";

/** `others` is a file outside. */
export type Put = (path: string, others: string) => Promise<unknown>;

export const IN_PLACE_OF_A_FILE: Readonly<Record<string, Put>> = {
  "a FIFO": (path) => promisify(execFile)("mkfifo", [path]),
  "a socket": async (path) => {
    // Its own path is too long for an address.
    const short = join(tmpdir(), randomUUID());
    const server = createServer().listen(short);
    await once(server, "listening");
    await rename(short, path);
    server.close();
  },
  "a link to a file": (path, others) => symlink(others, path),
  "a link to a device": (path) => symlink("/dev/zero", path),
  "a link to itself": (path) => symlink(path, path),
  "a link to nothing": (path) => symlink(`${path}-nothing`, path),
  "a folder": async (path) => {
    await mkdir(path);
    await writeFile(join(path, "deep"), "years of work");
  },
};
