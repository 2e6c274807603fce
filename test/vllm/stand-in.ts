/**
 * Takes vLLM's place where there is none, to rehearse these tests: WARMPATH_VLLM_COMMAND="node test/vllm/stand-in.ts" WARMPATH_VLLM_MODEL=.
 * It is the server of the other tests, with the embedded engine, and takes the options that the tests give.
 */
import { parseArgs } from "node:util";
import { vllmServer } from "../gpu-backend/vllm-server.ts";

const { values } = parseArgs({
  options: { port: { type: "string" }, "kv-events-config": { type: "string" } },
  strict: false,
  allowPositionals: true,
});
const { endpoint, replay_endpoint: replay } = JSON.parse(String(values["kv-events-config"])) as {
  endpoint: string;
  replay_endpoint: string;
};
const here = (address: string): string => address.replace("*", "127.0.0.1");
await vllmServer({ port: Number(values.port), endpoints: { live: here(endpoint), replay: here(replay) }, contextTokens: 4_096 });
