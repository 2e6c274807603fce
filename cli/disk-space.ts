/** Says over loopback how much room the state directory's disk has: workerd can't ask its file system, and a write that finds no room ends a Durable Object. */
import { createServer } from "node:http";
import { statfs } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import type { DiskSpace } from "../src/records/disk-room.ts";

interface DiskWatch {
  port: number;
  close(): void;
}

export async function spaceOf(directory: string): Promise<DiskSpace> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}

/** Answers every GET with a `DiskSpace`; does not keep the process alive. */
export async function serveDiskSpace(look: () => Promise<DiskSpace>): Promise<DiskWatch> {
  const server = createServer((_request, response) => {
    look().then(
      (space) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(space)),
      () => response.writeHead(500).end(),
    );
  });
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
