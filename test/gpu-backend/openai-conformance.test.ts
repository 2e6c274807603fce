/** The adapter to OpenAI's API is an engine: over HTTP, before a server that computes its answers. */
import { afterAll, beforeAll } from "vitest";
import { describeEngine } from "../conformance/engine.ts";
import { openAdapter } from "./openai-adapter.ts";
import { openAiServer, type OpenAiServer } from "./openai-server.ts";

let server: OpenAiServer;
beforeAll(async () => {
  server = await openAiServer();
});
afterAll(() => server.close());

describeEngine("a server that speaks OpenAI's API", "none", () =>
  openAdapter(server, { WARMPATH_SEQUENCES: "2", WARMPATH_QUEUE_LIMIT: "1", WARMPATH_CONTEXT_TOKENS: "1024" }),
);
