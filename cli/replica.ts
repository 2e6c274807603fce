/** `warmpath replica`: a replica on this machine that joins a pool, with an engine here or one that runs already. */
import { edgeProblem } from "../gpu-backend/edge-probe.ts";
import { discover, tryCompletion } from "../gpu-backend/engine/openai/discovery.ts";
import { ServerLink } from "../gpu-backend/engine/openai/server-link.ts";
import { readSettings } from "../gpu-backend/engine/openai/settings.ts";
import { chooseSource } from "../gpu-backend/engine/vllm/open.ts";
import { readVllmSettings } from "../gpu-backend/engine/vllm/settings.ts";
import { attachScreen, type ScreenedEvents } from "./attach-screen.ts";
import { cacheFolder } from "./models/cache-folder.ts";
import type { ModelChoice } from "./models/model-choice.ts";
import { choiceProblem } from "./models/model-file.ts";
import { findModels, modelVariables } from "./models/served-models.ts";
import { type EngineName, parseReplicaOptions, type ReplicaOptions, USAGE } from "./replica-options.ts";
import { startReplica } from "./replica-process.ts";
import { LaunchMessages } from "./launch-messages.ts";

/** A sentence for the user. */
interface Problem {
  problem: string;
}

/** Exit status: 2 for what is not understood, 1 for what can't be. Resolves when the replica has gone. */
export async function main(args: string[]): Promise<number> {
  let options: ReplicaOptions | "help";
  try {
    options = parseReplicaOptions(args, process.env);
  } catch (error) {
    console.error(
      `${error instanceof Error ? error.message : "The options are not understood."}\nwarmpath replica --help lists the options.`,
    );
    return 2;
  }
  if (options === "help") {
    console.log(USAGE);
    return 0;
  }
  const { join, pool, name, environment } = options;
  const [door, screen] = await Promise.all([
    edgeProblem({ join, pool, name, token: environment["WARMPATH_JOIN_TOKEN"] ?? "" }),
    options.engine === "llama-cpp" ? `\n  Pool      ${pool} at ${new URL(join).host}, as ${name}\n\n` : attach(options),
  ]);
  const problem = door ?? (typeof screen === "string" ? null : screen.problem);
  if (problem !== null || typeof screen !== "string") {
    console.error(problem);
    return 1;
  }
  process.stdout.write(screen);
  const variables = options.model === null ? {} : await variablesOfChoice(options.model);
  if ("problem" in variables) {
    console.error(variables.problem);
    return 1;
  }
  return run(name, { ...environment, ...variables });
}

/** The model's part of the replica's environment. */
async function variablesOfChoice(choice: ModelChoice): Promise<Record<string, string> | Problem> {
  const wrong = choiceProblem([choice]);
  if (wrong !== null) return { problem: wrong };
  const messages = new LaunchMessages();
  const found = await findModels([choice], cacheFolder(process.env), {
    making: (what) => messages.making(what),
    fetching: (what) => messages.fetching(what),
    progress: (what, bytes, of) => messages.moved(what, bytes, of),
    said: () => undefined,
    spawned: () => undefined,
  });
  if (!found.ok) return { problem: found.message };
  messages.ready();
  const [model] = found.models;
  if (model === undefined) return { problem: "There is no model." };
  return modelVariables(model, process.env);
}

/** What the server is, as a screen. */
async function attach({ engine, environment, pool, join, name }: ReplicaOptions): Promise<string | Problem> {
  const read = readSettings({ ...process.env, ...environment });
  if (!read.ok) return { problem: read.message };
  const link = new ServerLink(read.values.url, read.values.key, 4);
  try {
    const found = await discover(link, read.values.model);
    if (found.type === "unavailable") return { problem: found.message };
    if (engine === "vllm" && found.kind !== "vllm") return { problem: "What answers at --engine-url is no vLLM: use --engine openai." };
    if (found.chatTemplate === null && read.values.templatePath === null) {
      return { problem: "The engine's server does not give its model's chat template: name a file that has it with --template." };
    }
    const completion = await tryCompletion(link, found.model);
    if (completion === null)
      return { problem: "The engine's server does not complete a text at /v1/completions, which this engine needs." };
    const events = await eventsOf(engine, link, read.values.url, { ...process.env, ...environment });
    if ("problem" in events) return events;
    return attachScreen({ found, completion, events, pool, join, name });
  } finally {
    await link.close();
  }
}

async function eventsOf(
  engine: EngineName,
  link: ServerLink,
  url: string,
  environment: NodeJS.ProcessEnv,
): Promise<ScreenedEvents | Problem> {
  if (engine !== "vllm") return { type: "none", why: "--engine vllm would follow a vLLM's KV events" };
  const read = readVllmSettings(environment);
  if (!read.ok) return { problem: read.message };
  return chooseSource({ link, url }, read.values);
}

function run(name: string, environment: Record<string, string>): Promise<number> {
  return new Promise((resolve) => {
    let wasHere = false;
    let isEnding = false;
    let status = 0;
    const replica = startReplica(name, environment, {
      started: () => undefined,
      joined: (_, url) => {
        console.log(`${name} ${wasHere ? "is back" : "has joined"} at ${url}. Ctrl-C ends it.`);
        wasHere = true;
      },
      // That it has joined is said above.
      news: (_, line, what) => (what === "joined" ? undefined : console.error(line)),
      ended: (_name, _pid, how) => {
        if (!isEnding && wasHere) console.error(`${name} died (${how}), starting again.`);
      },
      failed: (_, message) => {
        console.error(message);
        // What never began can't begin as it is told to.
        if (!wasHere) end(1);
      },
    });
    const end = (code: number): void => {
      isEnding = true;
      status = code;
      void replica.drain().then(() => resolve(status));
    };
    const onSignal = (): void => (isEnding ? replica.cut() : end(0));
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}
