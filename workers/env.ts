import { z } from "zod";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { DirectoryObject } from "./objects/directory-object.ts";
import type { PoolObject } from "./objects/pool-object.ts";
import type { RecordsObject } from "./objects/records-object.ts";
import type { WeightedName } from "../src/edge/rendezvous.ts";
import { DEFAULT_REMOTE_PREFILL_TOKENS } from "../src/router/state.ts";
import { joinTokenText } from "../src/tenancy/join-token.ts";
import type { ReplicaAddresses } from "./replica-url.ts";
import { DEFAULT_PROFILE, PROFILE_NAMES } from "../src/decision/profiles.ts";

export interface Env {
  POOL: DurableObjectNamespace<PoolObject>;
  RECORDS: DurableObjectNamespace<RecordsObject>;
  DIRECTORY: DurableObjectNamespace<DirectoryObject>;
  /** The launcher's word on the disk below the objects; absent where the platform has the disks. */
  DISK?: Fetcher;
  WARMPATH_SECRET: string;
  WARMPATH_POOLS: string;
  WARMPATH_PROFILE?: string;
  WARMPATH_REMOTE_PREFILL_TOKENS?: string;
  WARMPATH_MODELS?: string;
  WARMPATH_REPLICA_ADDRESSES?: string;
  WARMPATH_JOIN_TOKENS?: string;
  WARMPATH_LISTENS?: string;
}

/** Cards of all pools are kept in one object and in each isolate. */
export const MOST_POOLS = 256;

/** Tenants whose salts an isolate keeps. */
const MOST_REMEMBERED = 1_024;

/** As request ids have it: no underscore. */
const PoolName = z.string().regex(/^[0-9A-Za-z.-]{1,64}$/, "a pool's name has 1 to 64 letters, digits, dots and hyphens");
const ModelName = z.string().regex(/^[ -~]{1,128}$/, "a model's name has 1 to 128 printable ASCII characters");
const Placed = z.strictObject({
  pool: PoolName,
  region: z
    .string()
    .regex(/^[0-9a-z-]{1,32}$/, "a region has 1 to 32 lower case letters, digits and hyphens")
    .default(""),
});
const Weighted = z.strictObject({ model: ModelName, weight: z.number().min(0).max(1_000_000).default(1) });

const Models = z
  .strictObject({
    models: z.record(ModelName, z.strictObject({ pools: z.array(Placed).min(1) })),
    aliases: z.record(ModelName, z.array(Weighted).min(1).max(16)).default({}),
  })
  .superRefine(({ models, aliases }, context) => {
    const problem = (path: (string | number)[], message: string): void => context.addIssue({ code: "custom", path, message });
    const taken = new Map<string, string>();
    for (const [model, { pools }] of Object.entries(models)) {
      for (const [index, { pool }] of pools.entries()) {
        const other = taken.get(pool);
        if (other !== undefined)
          problem(["models", model, "pools", index, "pool"], `pool ${pool} serves ${other} already; a pool has one model`);
        taken.set(pool, model);
      }
    }
    if (taken.size === 0) problem(["models"], "names no model");
    if (taken.size > MOST_POOLS) problem(["models"], `names ${taken.size} pools; at most ${MOST_POOLS} are possible`);
    for (const [alias, targets] of Object.entries(aliases)) {
      if (alias in models) problem(["aliases", alias], "is a model's name; an alias needs another");
      if (targets.every(({ weight }) => weight === 0)) problem(["aliases", alias], "every weight is 0");
      for (const [index, { model }] of targets.entries()) {
        if (!(model in models)) problem(["aliases", alias, index, "model"], `there is no model ${model} in models`);
        if (targets.findIndex((target) => target.model === model) !== index)
          problem(["aliases", alias, index, "model"], `names ${model} twice`);
      }
    }
  });

const Json = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: `is no JSON: ${error instanceof Error ? error.message : "not understood"}` });
    return z.NEVER;
  }
});

const Vars = z.object({
  WARMPATH_SECRET: z.string().min(16),
  WARMPATH_POOLS: z.string().transform((names) =>
    names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  ),
  WARMPATH_PROFILE: z.enum(PROFILE_NAMES).default(DEFAULT_PROFILE),
  /** Uncached tokens from which on another replica prefills, where one is there for it; 0: never. */
  WARMPATH_REMOTE_PREFILL_TOKENS: z.coerce.number().int().min(0).max(1_000_000).default(DEFAULT_REMOTE_PREFILL_TOKENS),
  /** `loopback`: whoever starts the edge says that it listens there only, so that its own machine's programs need no key for the metrics. */
  WARMPATH_LISTENS: z.enum(["loopback", "network"]).default("network"),
  /** Which pools serve which model; without it, every pool of WARMPATH_POOLS serves the model that its replicas announce. */
  WARMPATH_MODELS: Json.pipe(Models).optional(),
  /** private: replicas may have plain http, IP addresses and local names. */
  WARMPATH_REPLICA_ADDRESSES: z.enum(["public", "private"]).default("public"),
  /** replica: each joins with a token of its own name; pool: all of a pool with the same, or with their own. */
  WARMPATH_JOIN_TOKENS: z.enum(["pool", "replica"]).default("pool"),
});

export interface Config {
  pools: readonly string[];
  /** Names of models → their pools; null: replicas say which model their pool is. */
  models: ReadonlyMap<string, readonly string[]> | null;
  /** Other names → the models behind them, by weight. */
  aliases: ReadonlyMap<string, readonly WeightedName[]>;
  /** "" where none was given. */
  regionOf: (pool: string) => string;
  profile: z.infer<typeof Vars>["WARMPATH_PROFILE"];
  /** Null: never. */
  remotePrefillTokens: number | null;
  /** Only this machine reaches the edge, but for what a proxy of its own lets through. */
  isLoopbackOnly: boolean;
  /** HMAC-SHA-256 under the deployment's secret. */
  mac: (text: string) => Uint8Array;
  /** Where replicas' URLs may lead. */
  replicaAddresses: ReplicaAddresses;
  /** A replica joins with the token of its own name only. */
  tokenPerReplica: boolean;
  /** The token with which a replica joins `pool`: any, or the one of this name only. */
  joinToken: (pool: string, replica?: string) => string;
  /** Whether a replica of this name may join `pool` with this token. */
  isJoinToken: (token: string, pool: string, replica: string) => boolean;
  /** What isolates this tenant's cache from all others. */
  saltOf: (tenant: string) => string;
}

const known = new WeakMap<Env, Config>();

/** Parsed once an isolate; throws on a deployment that is configured wrongly, saying which variable. */
export function configOf(env: Env): Config {
  let config = known.get(env);
  if (config !== undefined) return config;
  const parsed = Vars.safeParse(env);
  if (!parsed.success) throw new Error(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
  const vars = parsed.data;
  const salts = new Map<string, string>();
  const saltOf = (tenant: string): string => hmac(`salt:${tenant}`).digest("base64url").slice(0, 22);
  const hmac = (text: string) => createHmac("sha256", vars.WARMPATH_SECRET).update(text);
  const tokenPerReplica = vars.WARMPATH_JOIN_TOKENS === "replica";
  const joinToken = (pool: string, replica?: string): string => `wpj_${hmac(joinTokenText(pool, replica)).digest("base64url")}`;
  config = {
    ...poolsOf(vars),
    profile: vars.WARMPATH_PROFILE,
    isLoopbackOnly: vars.WARMPATH_LISTENS === "loopback",
    remotePrefillTokens: vars.WARMPATH_REMOTE_PREFILL_TOKENS === 0 ? null : vars.WARMPATH_REMOTE_PREFILL_TOKENS,
    mac: (text) => hmac(text).digest(),
    replicaAddresses: vars.WARMPATH_REPLICA_ADDRESSES,
    tokenPerReplica,
    joinToken,
    isJoinToken: (token, pool, replica) =>
      sameText(token, joinToken(pool, replica)) || (!tokenPerReplica && sameText(token, joinToken(pool))),
    saltOf: (tenant) => remembered(salts, tenant, saltOf),
  };
  known.set(env, config);
  return config;
}

/** What a function says of a key, from `known` where it has said so before. */
function remembered<K, V>(known: Map<K, V>, key: K, of: (key: K) => V): V {
  const before = known.get(key);
  if (before !== undefined) return before;
  const value = of(key);
  if (known.size >= MOST_REMEMBERED) known.clear();
  known.set(key, value);
  return value;
}

function poolsOf({ WARMPATH_POOLS, WARMPATH_MODELS }: z.infer<typeof Vars>): Pick<Config, "pools" | "models" | "aliases" | "regionOf"> {
  if (WARMPATH_MODELS === undefined) return { pools: WARMPATH_POOLS, models: null, aliases: new Map(), regionOf: () => "" };
  const placed = Object.values(WARMPATH_MODELS.models).flatMap(({ pools }) => pools);
  const regions = new Map(placed.map(({ pool, region }) => [pool, region]));
  return {
    pools: [...regions.keys()],
    models: new Map(Object.entries(WARMPATH_MODELS.models).map(([model, { pools }]) => [model, pools.map(({ pool }) => pool)])),
    aliases: new Map(
      Object.entries(WARMPATH_MODELS.aliases).map(([alias, targets]) => [
        alias,
        targets.map(({ model, weight }) => ({ name: model, weight })),
      ]),
    ),
    regionOf: (pool) => regions.get(pool) ?? "",
  };
}

/** Equality in time that does not tell where two texts differ. */
export function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
