/** README's Deploy and Attach sections run as they stand; only names that are not ours are put in their place. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { bundleEdge, ROOT } from "../../cli/bundle.ts";
import { startWorkerd } from "../../cli/edge.ts";
import { choosePort } from "../../cli/port.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { until } from "./started.ts";

let folder: string;
let edge: ChildProcess;
let port: number;
let replica: ChildProcess | undefined;

/** The shell blocks below a heading, in order. */
async function commandsBelow(heading: string): Promise<string[]> {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const [, section = ""] = readme.split(new RegExp(`^## ${heading}$`, "m"));
  const [ours = ""] = section.split(/^## /m);
  return [...ours.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block = ""]) => block);
}

/** In a folder of its own, from which npx finds this project. */
const shell = (script: string): [string, string[], { cwd: string; env: NodeJS.ProcessEnv }] => [
  "sh",
  [
    "-ec",
    script
      .replaceAll("npx warmpath", `npx --prefix "${ROOT}" warmpath`)
      .replaceAll("npm exec -- node ", `npm --prefix "${ROOT}" exec -- node "${ROOT}/"`),
  ],
  { cwd: folder, env: { ...process.env, XDG_CACHE_HOME: join(folder, "cache") } },
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "warmpath-readme-"));
  const [deploy = ""] = await commandsBelow("Deploy");
  // A deployment needs an account.
  const script = deploy
    .split("\n")
    .filter((line) => !line.startsWith("npx wrangler"))
    .join("\n");
  expect(deploy.match(/^npx wrangler .*$/gm)).toHaveLength(2);
  const { stdout } = await promisify(execFile)(...shell(script));
  expect(stdout).toMatch(/^wp_dev_\w+\n$/);
  const secret = (await readFile(join(folder, "secret"), "utf8")).trim();
  const variables = { WARMPATH_SECRET: secret, WARMPATH_POOLS: "default", WARMPATH_PROFILE: "cache-aware" };
  const started = await startWorkerd({ port: 0, stateDirectory: folder, variables }, await bundleEdge(folder));
  if (started.type === "failed") throw new Error(started.message);
  ({ process: edge, port } = started);
  await writeFile(join(folder, "model.gguf"), await readFile(await ensureDemoModel(folder)));
});
afterEach(() => {
  if (replica?.pid !== undefined) process.kill(-replica.pid, "SIGKILL");
});
afterAll(async () => {
  edge?.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

it.each([
  ["the command", 0, /gpu-1 has joined at http:\/\/127\.0\.0\.1:\d+\. Ctrl-C ends it\./],
  ["the environment variables", 1, /gpu-1 has joined pool default at 127\.0\.0\.1:\d+/],
])("a replica joins by %s of the README", async (_, index, joined) => {
  const free = await choosePort(0);
  const block = (await commandsBelow("Attach a replica"))[index] ?? "";
  const here = `HOST=127.0.0.1:${port}\n${block.replace(/^HOST=.*$/m, "")}`
    // No certificate is here that workerd trusts.
    .replaceAll("https://", "http://")
    .replaceAll("wss://", "ws://")
    .replaceAll("gpu-1.example", `127.0.0.1:${free}`)
    .replaceAll("8000", String(free))
    // The other model needs no network.
    .replaceAll("smollm2", "tiny");
  const [command, args, options] = shell(here);
  replica = spawn(command, args, { ...options, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [replica.stdout, replica.stderr]) stream?.on("data", (part: Buffer) => (said += part.toString()));
  await until("it has joined", () => joined.test(said), 90_000).catch(() => expect(said).toMatch(joined));
});
