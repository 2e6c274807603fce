/** The adapter is an engine before a real vLLM, with its residency. */
import { inject } from "vitest";
import { describeEngine } from "../conformance/engine.ts";
import { openVllm } from "./opened.ts";

describeEngine("a real vLLM", "residency", () =>
  openVllm(inject("vllm"), { WARMPATH_SEQUENCES: "2", WARMPATH_QUEUE_LIMIT: "1", WARMPATH_CONTEXT_TOKENS: "1024" }),
);
