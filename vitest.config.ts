import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

// Tests start replicas and engines a hundred times: each compiles its modules once only.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/warmpath-test/compiled");

/** One at a time: they measure, or freeze what would be slow beside others, too. */
const ALONE = ["truth", "faults", "kv-patience", "client-abort"].map((name) => `test/e2e/${name}.test.ts`);

export default defineConfig({
  test: {
    // On two cores the default is one, and most of what tests do is waiting.
    maxWorkers: 3,
    projects: [
      // A busy machine takes ten times as long.
      // Pure code keeps no state, so files share their processes, and load each module once.
      { test: { name: "unit", include: ["test/unit/**/*.test.ts", "test/conformance/**/*.test.ts"], testTimeout: 60_000, isolate: false } },
      { test: { name: "gpu-backend", include: ["test/gpu-backend/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 } },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/*.test.ts"],
          exclude: ALONE,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      { test: { name: "e2e-alone", include: ALONE, testTimeout: 120_000, hookTimeout: 120_000, fileParallelism: false } },
      {
        test: {
          name: "clients",
          include: ["test/e2e/clients/*.test.ts"],
          globalSetup: "test/e2e/clients/shared-products.ts",
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            // Mock replicas have names that no resolver knows.
            miniflare: { bindings: { WARMPATH_SECRET: "test-secret-of-the-deployment", WARMPATH_REPLICA_ADDRESSES: "private" } },
          }),
        ],
        test: {
          name: "workers",
          include: ["test/workers/**/*.test.ts"],
          globalSetup: "test/workers/built-console.ts",
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
});
