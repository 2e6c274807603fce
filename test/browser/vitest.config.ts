import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Apart from `npm test`, since it needs a Chromium on this machine. */
export default defineConfig({
  root: join(import.meta.dirname, "../.."),
  test: { include: ["test/browser/*.test.ts"], testTimeout: 60_000, hookTimeout: 120_000, fileParallelism: false },
});
