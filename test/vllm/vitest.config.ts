/** Tests before a real vLLM: `npm run test:vllm`. docs/operations.md says what they need. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: new URL("../..", import.meta.url).pathname,
  test: {
    include: ["test/vllm/*.test.ts"],
    // One server, whose load and cache each test knows.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 600_000,
    globalSetup: "test/vllm/server.ts",
  },
});
