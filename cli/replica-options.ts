/** The options of `warmpath replica`, and the environment of the replica that they make. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { type ModelChoice, parseModels } from "./models/model-choice.ts";

const ENGINES = ["llama-cpp", "vllm", "openai"] as const;
export type EngineName = (typeof ENGINES)[number];

export interface ReplicaOptions {
  engine: EngineName;
  /** ws: or wss:, with /announce/POOL. */
  join: string;
  pool: string;
  name: string;
  /** What the embedded engine serves; null with another engine. */
  model: ModelChoice | null;
  /** Has the join token and the server's key. */
  environment: Record<string, string>;
}

export const USAGE = `warmpath replica --join URL (--token-file FILE | --token T) --engine NAME [options]
  Runs a replica that joins a pool, until Ctrl-C.
  --join URL             the edge, as https://edge.example, or wss://edge.example/announce/POOL
  --pool NAME            the pool (default default)
  --token-file FILE      a file with the join token (warmpath join-token POOL). Or set WARMPATH_JOIN_TOKEN
  --token T              the join token itself; other users of the machine can see it
  --name NAME            the replica's, one in its pool (default this machine's name)
  --url URL              where the edge reaches this replica (default the address it listens on)
  --host H, --port P     where it listens (default 127.0.0.1, any free port)
  --sequences N          requests at once
  --context N            longest prompt plus output, in tokens
  --engine llama-cpp     computes here
    --model NAME         smollm2, tiny, FILE.gguf or ID=FILE.gguf, as of npm start
  --engine vllm | openai a server that runs already and speaks OpenAI's API
    --engine-url URL     its base URL
    --engine-key-file F  a file with its key. Or set WARMPATH_ENGINE_KEY
    --engine-model NAME  the model, where it serves several
    --template FILE      the model's chat template in Jinja, where the server does not give it
  --engine vllm          and its KV events are followed
    --kv-events URL      where it announces them, as tcp://127.0.0.1:5557, where it does not say so itself (before 0.32)
    --kv-replay URL      where it sends them again
    --rank N             the data-parallel rank that this replica is, where the engine has several`;

const NAME = /^[0-9A-Za-z._-]{1,64}$/;
const MOST_SECRET_BYTES = 4_096;

const text = { type: "string" } as const;
const OPTIONS = {
  engine: text,
  join: text,
  pool: text,
  token: text,
  "token-file": text,
  name: text,
  url: text,
  host: text,
  port: text,
  sequences: text,
  context: text,
  model: text,
  "engine-url": text,
  "engine-key-file": text,
  "engine-model": text,
  template: text,
  "kv-events": text,
  "kv-replay": text,
  rank: text,
  help: { type: "boolean", short: "h", default: false },
} as const;
type OptionName = Exclude<keyof typeof OPTIONS, "help">;
type Values = Partial<Record<OptionName, string>>;

/** Options whose text goes to the replica as it is; it checks them. */
const PASSED: readonly (readonly [OptionName, string])[] = [
  ["url", "WARMPATH_URL"],
  ["host", "WARMPATH_HOST"],
  ["port", "WARMPATH_PORT"],
  ["sequences", "WARMPATH_SEQUENCES"],
  ["context", "WARMPATH_CONTEXT_TOKENS"],
  ["engine-url", "WARMPATH_ENGINE_URL"],
  ["engine-model", "WARMPATH_ENGINE_MODEL"],
  ["template", "WARMPATH_CHAT_TEMPLATE"],
  ["kv-events", "WARMPATH_KV_EVENTS"],
  ["kv-replay", "WARMPATH_KV_REPLAY"],
  ["rank", "WARMPATH_ENGINE_RANK"],
];

/** Throws a RangeError or TypeError whose message is fit for the user and has no secret in it. */
export function parseReplicaOptions(args: string[], given: NodeJS.ProcessEnv): ReplicaOptions | "help" {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) return "help";
  const engine = ENGINES.find((name) => name === values.engine);
  if (engine === undefined) throw new RangeError(`--engine must be one of ${ENGINES.join(", ")}.`);
  const { join, pool } = joinOf(values);
  const name =
    values.name ??
    (hostname()
      .replaceAll(/[^0-9A-Za-z._-]/g, "-")
      .slice(0, 64) ||
      "replica");
  if (!NAME.test(name)) throw new RangeError("--name must have 1 to 64 letters, digits, dots, underscores or hyphens.");
  const token = values.token ?? secretFile("token-file", values["token-file"]) ?? given["WARMPATH_JOIN_TOKEN"] ?? "";
  if (token === "") throw new RangeError("There is no join token: name a file with --token-file, or set WARMPATH_JOIN_TOKEN.");
  if (engine === "llama-cpp" && values.model === undefined)
    throw new RangeError("--engine llama-cpp needs --model FILE.gguf, or --model smollm2.");
  const models = engine === "llama-cpp" ? parseModels(values.model) : [];
  if (models.length > 1) throw new RangeError("--model names several models; a replica serves one.");
  if (engine !== "llama-cpp" && values["engine-url"] === undefined) throw new RangeError(`--engine ${engine} needs --engine-url URL.`);
  const onlyVllm = (["kv-events", "kv-replay", "rank"] as const).find((option) => values[option] !== undefined);
  if (engine !== "vllm" && onlyVllm !== undefined) throw new RangeError(`--${onlyVllm} goes with --engine vllm.`);
  if (values["kv-replay"] !== undefined && values["kv-events"] === undefined) throw new RangeError("--kv-replay needs --kv-events.");
  const key = secretFile("engine-key-file", values["engine-key-file"]);
  const passed = PASSED.flatMap(([option, variable]) => (values[option] === undefined ? [] : [[variable, values[option]]]));
  return {
    engine,
    join,
    pool,
    name,
    model: models[0] ?? null,
    environment: {
      ...(Object.fromEntries(passed) as Record<string, string>),
      ...(key === undefined ? {} : { WARMPATH_ENGINE_KEY: key }),
      WARMPATH_ENGINE: engine,
      WARMPATH_JOIN: join,
      WARMPATH_JOIN_TOKEN: token,
      WARMPATH_REPLICA: name,
    },
  };
}

function joinOf({ join = "", pool }: Values): { join: string; pool: string } {
  const url = URL.canParse(join) ? new URL(join) : null;
  const wrong = "--join must be the edge's URL, as https://edge.example or wss://edge.example/announce/POOL.";
  if (url === null || !/^(https?|wss?):$/.test(url.protocol)) throw new RangeError(wrong);
  const [, named] = /^\/announce\/([^/]+)\/?$/.exec(url.pathname) ?? [];
  if (named === undefined && url.pathname !== "/") throw new RangeError(wrong);
  if (named !== undefined && pool !== undefined && named !== pool) throw new RangeError(`--join names pool ${named}, --pool ${pool}.`);
  const chosen = named ?? pool ?? "default";
  if (!NAME.test(chosen)) throw new RangeError("--pool must have 1 to 64 letters, digits, dots, underscores or hyphens.");
  const scheme = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  return { join: `${scheme}//${url.host}/announce/${chosen}`, pool: chosen };
}

function secretFile(option: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  let secret: string;
  try {
    secret = readFileSync(file, "utf8").slice(0, MOST_SECRET_BYTES).trim();
  } catch {
    throw new RangeError(`--${option}: ${file} cannot be read.`);
  }
  if (secret === "") throw new RangeError(`--${option}: ${file} is empty.`);
  return secret;
}
