/** The adapter to vLLM is an engine with the part of the KV contract that says what it holds. */
import { afterAll, beforeAll } from "vitest";
import { describeEngine } from "../conformance/engine.ts";
import { openAdapter } from "./openai-adapter.ts";
import { vllmServer, type VllmServer } from "./vllm-server.ts";

let server: VllmServer;
beforeAll(async () => {
  server = await vllmServer();
});
afterAll(() => server.close());

describeEngine("vLLM", "residency", () =>
  openAdapter(server, {
    WARMPATH_ENGINE: "vllm",
    WARMPATH_SEQUENCES: "2",
    WARMPATH_QUEUE_LIMIT: "1",
    WARMPATH_CONTEXT_TOKENS: "1024",
  }),
);
