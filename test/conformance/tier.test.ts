import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { openDiskTier } from "../../gpu-backend/blocks/disk-tier.ts";
import { HostTier } from "../../gpu-backend/blocks/host-tier.ts";
import { createStoreTier } from "../../gpu-backend/blocks/store-tier.ts";
import { kvSpace } from "./tier-blocks.ts";
import { tierFaultSuite } from "./tier-faults.ts";
import { faultyDisk, faultyHost, faultyStore } from "./tier-media.ts";
import { startStore, type StartedStore } from "./tier-store.ts";
import { tierSuite } from "./tier.ts";

const root = mkdtempSync(join(tmpdir(), "warmpath-tiers-"));
let store: StartedStore;
let directories = 0;
const proxies: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  store = await startStore();
});
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await store.close();
  rmSync(root, { recursive: true });
});

tierSuite("host", (options) => Promise.resolve(new HostTier(options)), 300);
tierSuite("disk", (options) => openDiskTier({ ...options, kvSpace, directory: join(root, `${directories++}`) }), 25);
tierSuite("store", ({ now, budgetBytes }) => Promise.resolve(createStoreTier(store.options(now, budgetBytes))), 12);

tierFaultSuite("host", faultyHost);
tierFaultSuite("disk", (options) => faultyDisk({ ...options, directory: join(root, `${directories++}`) }));
tierFaultSuite("store", async (options) => {
  const faulty = await faultyStore(store, options);
  proxies.push(faulty);
  return faulty;
});
