/** A replica says in a line why it is not where it should be, and when it is. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { ROOT } from "../../cli/bundle.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { makeBundle, POOL, SoakEdge } from "../bench/soak/edge-process.ts";
import { until } from "./started.ts";

let bundle: Awaited<ReturnType<typeof makeBundle>>;
let edge: SoakEdge;
let folder: string;
let model: string;
let replica: ChildProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "warmpath-replica-speaks-"));
  model = await ensureDemoModel(folder);
  bundle = await makeBundle();
  edge = await SoakEdge.start(bundle.path);
});
afterEach(() => void replica?.kill("SIGKILL"));
afterAll(async () => {
  await edge?.end();
  await bundle?.remove();
  await rm(folder, { recursive: true, force: true });
});

function start(changes: Record<string, string>): () => string {
  const variables = {
    WARMPATH_JOIN: `ws://127.0.0.1:${edge.port}/announce/${POOL}`,
    WARMPATH_JOIN_TOKEN: edge.secrets.joinToken(POOL),
    WARMPATH_REPLICA: "speaker",
    WARMPATH_MODEL: model,
    WARMPATH_CONTEXT_TOKENS: "512",
  };
  replica = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(ROOT, "gpu-backend/main.ts")], {
    env: { ...process.env, ...variables, ...changes },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  replica.stderr?.on("data", (part: Buffer) => (said += part.toString()));
  return () => said;
}

it("that it has joined, that it lost the edge, and that it has joined again", async () => {
  const said = start({});
  const joined = `speaker has joined pool default at 127.0.0.1:${edge.port}, which reaches it at http://127.0.0.1:`;
  await until("it has joined", () => said().includes(joined), 60_000);
  await edge.killAndRestart();
  const lines = await until("it is back", () => (said().split(joined).length === 3 ? said().trim().split("\n") : null), 60_000);
  expect(lines).toEqual([
    expect.stringContaining(joined),
    `speaker lost the edge at 127.0.0.1:${edge.port}. It tries to join again.`,
    expect.stringContaining(joined),
  ]);
});

it.each<[string, () => Record<string, string>, () => string]>([
  [
    "the edge can't be reached",
    () => ({ WARMPATH_JOIN: `ws://127.0.0.1:9/announce/${POOL}` }),
    () => "speaker can't join: The edge at 127.0.0.1:9 can't be reached (nothing listens there)",
  ],
  [
    "there is no such pool",
    () => ({ WARMPATH_JOIN: `ws://127.0.0.1:${edge.port}/announce/nowhere` }),
    () => `speaker can't join: The edge at 127.0.0.1:${edge.port} has no pool nowhere`,
  ],
  [
    "its token is refused",
    () => ({ WARMPATH_JOIN_TOKEN: "wpj_wrong-token" }),
    () => `speaker can't join: The edge at 127.0.0.1:${edge.port} refuses the join token`,
  ],
])("that %s, once", async (_, changes, sentenceOf) => {
  const sentence = sentenceOf();
  const said = start(changes());
  await until("it says so", () => said().includes(sentence), 90_000);
  expect(said().trim().split("\n")).toHaveLength(1);
  expect(said()).not.toContain("wpj_wrong");
});
