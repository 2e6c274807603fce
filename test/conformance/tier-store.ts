/** A server that speaks the S3 API, on loopback: s3rver, which keeps its objects in a temporary folder. */
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreTierOptions } from "../../gpu-backend/blocks/store-tier.ts";
import { kvSpace } from "./tier-blocks.ts";

interface Server {
  run(): Promise<{ port: number }>;
  close(): Promise<void>;
}
/** It ships no types. */
const S3rver = createRequire(import.meta.url)("s3rver") as new (options: Record<string, unknown>) => Server;

export interface StartedStore {
  port: number;
  endpoint: string;
  /** Options of a tier with a prefix of its own. */
  options(now: () => number, budgetBytes: number): StoreTierOptions;
  close(): Promise<void>;
}

export async function startStore(): Promise<StartedStore> {
  const directory = await mkdtemp(join(tmpdir(), "warmpath-s3-"));
  const server = new S3rver({
    address: "127.0.0.1",
    port: 0,
    silent: true,
    directory,
    vhostBuckets: false,
    configureBuckets: [{ name: "blocks" }],
  });
  const { port } = await server.run();
  const endpoint = `http://127.0.0.1:${port}`;
  let tiers = 0;
  return {
    port,
    endpoint,
    options: (now, budgetBytes) => ({ ...storeAt(endpoint), prefix: `tier${tiers++}`, kvSpace, budgetBytes, now }),
    close: async () => {
      await server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function storeAt(endpoint: string): Pick<StoreTierOptions, "endpoint" | "bucket" | "region" | "accessKeyId" | "secretAccessKey"> {
  return { endpoint, bucket: "blocks", region: "us-east-1", accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };
}
