/** The edge as one JavaScript file, built by wrangler, kept under a name made of everything it is built from. */
import { type ChildProcess, execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { dyingWithParent } from "../gpu-backend/dies-with-parent.ts";
import { withoutOurs } from "../gpu-backend/environment.ts";
import { type BuildError, buildProblem } from "./build-problem.ts";

export const ROOT = dirname(import.meta.dirname);
const require = createRequire(import.meta.url);
export const WRANGLER = join(dirname(require.resolve("wrangler/package.json")), "bin/wrangler.js");

/** What a build of the edge may take on a busy machine, by `npm start` and by `npm run dev`. */
export const BUILD_LIMIT_MS = 120_000;

/** Nothing asks the network, nothing is written outside the state directory. */
export const quietWrangler = (stateDirectory: string): NodeJS.ProcessEnv => ({
  ...withoutOurs(process.env),
  // The build of the console runs under this Node.
  PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ""}`,
  CI: "1",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_WRITE_LOGS: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_REGISTRY_PATH: join(stateDirectory, "registry"),
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  X_LOCAL_OBSERVABILITY: "false",
  X_LOCAL_EXPLORER: "false",
});

function sourcesHash(): string {
  const hash = createHash("sha256");
  const files = ["src", "workers"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      // Made of the others by the build itself.
      .filter((file) => !file.startsWith(join(ROOT, "workers/console/built/"))),
  );
  for (const file of [
    ...files.toSorted(),
    join(ROOT, "tools/build-console.ts"),
    join(ROOT, "wrangler.toml"),
    join(ROOT, "package-lock.json"),
  ]) {
    hash.update(file.slice(ROOT.length)).update("\0").update(readFileSync(file)).update("\0");
  }
  return hash.digest("hex").slice(0, 16);
}

/** Of a build that was cut: its process has ended. */
function isAbandoned(name: string): boolean {
  const pid = Number(/^edge-[0-9a-f]{16}\.(\d+)\./.exec(name)?.[1] ?? process.pid);
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** The folder that holds router.js and its wasm modules. `spawned`: called with the process that builds it, where one has to. */
export async function bundleEdge(stateDirectory: string, spawned?: (process: ChildProcess) => void): Promise<string> {
  const directory = join(stateDirectory, `edge-${sourcesHash()}`);
  if (existsSync(join(directory, "router.js"))) return directory;
  // Two that build the same at once do not meet; whoever is later finds it made.
  const building = `${directory}.${process.pid}.${randomUUID().slice(0, 8)}`;
  const deploy = dyingWithParent(process.execPath, [WRANGLER, "deploy", "--dry-run", "--outdir", building]);
  const built = promisify(execFile)(...deploy, { cwd: ROOT, env: quietWrangler(stateDirectory), timeout: BUILD_LIMIT_MS });
  spawned?.(built.child);
  await built.catch((error: unknown) => {
    throw new Error(buildProblem(error as BuildError));
  });
  for (const old of readdirSync(stateDirectory)) {
    const path = join(stateDirectory, old);
    if ((/^edge-[0-9a-f]{16}$/.test(old) && path !== directory) || isAbandoned(old)) rmSync(path, { recursive: true, force: true });
  }
  try {
    renameSync(building, directory);
  } catch (error) {
    if (!existsSync(join(directory, "router.js"))) throw error;
    rmSync(building, { recursive: true, force: true });
  }
  return directory;
}
