/** Media that damage, fill up and stand still, below real tiers: for the conformance suite and whoever needs a hostile tier. */
import { writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { openDiskTier } from "../../gpu-backend/blocks/disk-tier.ts";
import { readWhole, writeSynced } from "../../gpu-backend/blocks/block-files.ts";
import { HostTier } from "../../gpu-backend/blocks/host-tier.ts";
import { createStoreTier } from "../../gpu-backend/blocks/store-tier.ts";
import type { Tier } from "../../gpu-backend/blocks/tier.ts";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { kvSpace } from "./tier-blocks.ts";
import type { StartedStore } from "./tier-store.ts";

export interface TierOptions {
  budgetBytes: number;
  now: () => number;
}

export interface Medium {
  /** What lies there under the key from now on. */
  replace(key: EngineKey, bytes: Uint8Array): Promise<void>;
  /** It holds no more than so many bytes of blocks. */
  capacityBytes: number;
  /** Reads do not end. */
  stuck: boolean;
}

export interface FaultyTier {
  tier: Tier;
  medium: Medium;
  /** What it can't do, and why. */
  gaps?: { capacity?: string; stuck?: string };
}

export function faultyHost(options: TierOptions): Promise<FaultyTier> {
  const tier = new HostTier(options);
  const medium: Medium = {
    async replace(key, bytes) {
      await tier.forget(key);
      await tier.put({ key, parent: null, bytes });
    },
    capacityBytes: Infinity,
    stuck: false,
  };
  const gaps = { capacity: "memory is full at the budget and nowhere else", stuck: "memory answers at once" };
  return Promise.resolve({ tier, medium, gaps });
}

export async function faultyDisk(options: TierOptions & { directory: string }): Promise<FaultyTier> {
  const { directory } = options;
  const medium: Medium = {
    replace: (key, bytes) => writeFile(join(directory, key.slice(0, 2), key), bytes),
    capacityBytes: Infinity,
    stuck: false,
  };
  const tier: Tier = await openDiskTier({
    ...options,
    kvSpace,
    async writeNew(path, bytes) {
      if (tier.usedBytes + bytes.length <= medium.capacityBytes) return writeSynced(path, bytes);
      // As a real one: what fits is written.
      await writeFile(path, bytes.subarray(0, 50));
      throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    },
    readWhole: (path, bytes) => (medium.stuck ? new Promise(() => undefined) : readWhole(path, bytes)),
  });
  return { tier, medium };
}

/** In front of a store: closes with `close`. */
export async function faultyStore(store: StartedStore, options: TierOptions): Promise<FaultyTier & { close(): Promise<void> }> {
  const replaced = new Map<string, Uint8Array>();
  const medium: Medium = {
    replace: (key, bytes) => Promise.resolve(void replaced.set(key, bytes)),
    capacityBytes: Infinity,
    stuck: false,
  };
  const server = createServer((request, response) => {
    const key = (request.url ?? "").split("/").at(-1) ?? "";
    const bytes = replaced.get(key);
    if (request.method === "GET" && medium.stuck) return;
    if (request.method === "GET" && bytes !== undefined) return void response.end(bytes);
    if (request.method === "DELETE" || request.method === "PUT") replaced.delete(key);
    if (request.method === "PUT" && tier.usedBytes + Number(request.headers["content-length"]) > medium.capacityBytes) {
      request.resume();
      return void response.writeHead(507).end();
    }
    forward(request, response, store.port);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const tier: Tier = createStoreTier({ ...store.options(options.now, options.budgetBytes), endpoint: `http://127.0.0.1:${port}` });
  const close = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return { tier, medium, close };
}

function forward(request: IncomingMessage, response: ServerResponse, port: number): void {
  const { method, url, headers } = request;
  const onward = httpRequest({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
}
