/** `npm start`: the edge and a few llama.cpp replicas on this machine, one screen, and nothing left behind. */
import { devFile, removeDevFile } from "./dev-file.ts";
import { LogFile } from "./log-file.ts";
import { choiceProblem } from "./models/model-file.ts";
import { parseOptions, poolNames, type StartOptions, USAGE } from "./options.ts";
import { choosePort, takenPort } from "./port.ts";
import { loadSecrets } from "./secrets.ts";
import { claimStateDirectory, logFile, openStateDirectory, problemOf } from "./state-directory.ts";
import { Terminal } from "./terminal.ts";
import { LaunchMessages } from "./launch-messages.ts";

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function options(): StartOptions {
  try {
    const parsed = parseOptions(process.argv.slice(2));
    if (parsed !== "help") return parsed;
  } catch (error) {
    fail(`${error instanceof Error ? error.message : "The options are not understood."}\nnpm start -- --help lists the options.`);
  }
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}

const parent = process.ppid;

/** When npm is killed, neither its shell nor this process gets a signal: a new parent means that the old one died. */
function watchParent(onGone: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  setInterval(() => process.ppid !== parent && onGone(), 250).unref();
}

const chosen = options();
const { stateDirectory } = chosen;
/** Those that a replica of this start joins. */
const pools = chosen.replicas === 0 ? [] : poolNames(chosen);
const { WARMPATH_MODELS: models } = process.env;
// What few starts need is loaded for those: the first line comes within a second.
const wrong =
  (pools.length === 0 ? null : choiceProblem(chosen.models)) ??
  (models === undefined ? null : (await import("./deployment-check.ts")).deploymentProblem(models, pools));
if (wrong !== null) fail(wrong);
// A screen that nobody reads any more ends nothing.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
// Whatever is written from here on, by children too, is this user's alone.
process.umask(0o077);
const opened = openStateDirectory(stateDirectory);
if (!opened.ok) fail(opened.message);
const claim = await claimStateDirectory(stateDirectory);
if (!claim.ok) {
  const by = claim.holder === null ? "another launcher" : `the launcher with pid ${claim.holder.pid} at ${claim.holder.url}`;
  fail(`The state directory ${stateDirectory} is used by ${by}. End that one, or choose another directory with --state.`);
}
// Of a launcher that was killed, together with its watchdog.
removeDevFile(devFile(stateDirectory), null);
const port = (await choosePort(chosen.port)) ?? fail(takenPort(chosen.port));
try {
  claim.hold({ pid: process.pid, url: `http://127.0.0.1:${port}` });
  const secrets = loadSecrets(stateDirectory);
  const log = new LogFile(logFile(stateDirectory), [secrets.deployment, secrets.apiKey, ...pools.map((pool) => secrets.joinToken(pool))]);
  const messages = new LaunchMessages(new Terminal(), (line) => log.write("launcher", line));
  messages.begins(`http://127.0.0.1:${port}`, pools.length * chosen.replicas, stateDirectory);
  const { Launcher } = await import("./launcher.ts");
  const launcher = new Launcher(chosen, secrets, claim, { messages, log });
  process.on("SIGTERM", () => (launcher.isDraining ? launcher.stop(null) : void launcher.drain()));
  for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => launcher.stop(null));
  // npm was asked to end, or was killed: running requests may still end whole.
  watchParent(() => (launcher.isDraining ? undefined : void launcher.drain()));
  await launcher.run(port).catch((error: unknown) => launcher.stop(problemOf(stateDirectory, error, "The start failed")));
} catch (error) {
  claim.release();
  fail(error instanceof RangeError ? error.message : problemOf(stateDirectory, error, "The start failed"));
}
