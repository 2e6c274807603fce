/** A self-hosted edge whose disk is full: what would be kept is refused by name, what serves goes on, and all is well again once there is room. */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundleEdge } from "../../cli/bundle.ts";
import { startWorkerd } from "../../cli/edge.ts";
import { loadSecrets } from "../../cli/secrets.ts";
import { endChildren } from "../bench/edge/child.ts";
import { MODEL } from "../bench/edge/prompts.ts";
import { type Mock, startMock } from "../bench/edge/setup.ts";
import { until } from "./started.ts";

const MIB = 1024 * 1024;
const TOTAL_BYTES = 64 * MIB;

let state: string;
let origin: string;
let headers: Record<string, string>;
let end: () => void;
let mock: Mock;
let freeBytes = TOTAL_BYTES;

beforeAll(async () => {
  state = mkdtempSync(join(tmpdir(), "warmpath-full-"));
  const secrets = loadSecrets(state);
  const variables = { WARMPATH_SECRET: secrets.deployment, WARMPATH_POOLS: "bench" };
  const diskSpace = async () => ({ freeBytes, totalBytes: TOTAL_BYTES });
  const edge = await startWorkerd({ port: 0, stateDirectory: state, variables, diskSpace }, await bundleEdge(state));
  if (edge.type === "failed") throw new Error(edge.message);
  origin = `http://127.0.0.1:${edge.port}`;
  headers = { authorization: `Bearer ${secrets.apiKey}`, "content-type": "application/json" };
  end = () => void edge.process.kill("SIGKILL");
  const started = await startMock(1);
  mock = started.mock;
  const announced = `ws://127.0.0.1:${edge.port}/announce/bench`;
  await mock.ask({ type: "join", join: announced, token: secrets.joinToken("bench"), pool: "bench", replicas: 1, ports: started.ports });
  await until("a replica is ready", async () => (await fetch(`${origin}/healthz`)).status === 200);
});
afterAll(() => {
  end();
  endChildren();
  rmSync(state, { recursive: true, force: true, maxRetries: 5 });
});

const post = (path: string, body: object): Promise<Response> =>
  fetch(`${origin}${path}`, { method: "POST", headers, body: JSON.stringify({ model: MODEL, ...body }) });
const respond = (store: boolean): Promise<Response> => post("/v1/responses", { input: "Hi", store });

/** When the pool's files were written last, and how long they are. */
function written(): string {
  const directory = join(state, "objects/warmpath-PoolObject");
  return readdirSync(directory)
    .map((name) => `${name} ${statSync(join(directory, name)).mtimeMs}`)
    .join("\n");
}

it(
  "chats, decisions and health go on, stored responses are 503 storage_full, and the pool writes nothing until there is room",
  { timeout: 60_000 },
  async () => {
    expect((await respond(true)).status).toBe(200);
    freeBytes = 0;
    const before = await until("the pool has heard of it", async () => {
      const at = written();
      await new Promise((resolve) => setTimeout(resolve, 600));
      return at === written() && at;
    });
    const endMs = performance.now() + 6_000;
    while (performance.now() < endMs) {
      const full = await respond(true);
      expect([full.status, full.headers.get("retry-after"), await full.json()]).toMatchObject([
        503,
        "5",
        { error: { code: "storage_full" } },
      ]);
      expect((await respond(false)).status).toBe(200);
      const chat = await post("/v1/chat/completions", { messages: [{ role: "user", content: "Hi" }] });
      expect(chat.status).toBe(200);
      const decision = await fetch(`${origin}/v1/decisions/${chat.headers.get("x-request-id")}`, { headers });
      expect(decision.status).toBe(200);
      expect((await fetch(`${origin}/healthz`)).status).toBe(200);
      await Promise.all([chat.arrayBuffer(), decision.arrayBuffer()]);
    }
    expect(written()).toBe(before);
    freeBytes = TOTAL_BYTES;
    await until("it is stored again", async () => (await respond(true)).status === 200, 2_000);
    await until("the pool writes again", () => written() !== before);
  },
);
