import { z } from "zod";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { DirectoryObject } from "./objects/directory-object.ts";
import type { PoolObject } from "./objects/pool-object.ts";
import type { RecordsObject } from "./objects/records-object.ts";
import { BoundedMap } from "../src/bounded-map.ts";
import type { WeightedName } from "../src/edge/rendezvous.ts";
import { DEFAULT_REMOTE_PREFILL_TOKENS } from "../src/router/state.ts";
import { joinTokenText } from "../src/tenancy/join-token.ts";
import { DeploymentModels } from "../src/wire/deployment-models.ts";
import { type ApiKey, parseKey } from "../src/tenancy/key.ts";
import { KnownKeys } from "./known-keys.ts";
import type { ReplicaAddresses } from "./replica-url.ts";
import { steadyNowMs } from "./steady-clock.ts";
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
  /** `requests`: a line for each request that no replica answered (middleware/request-log.ts). */
  WARMPATH_LOG?: string;
}

/** Tenants whose salts an isolate keeps. */
const MOST_REMEMBERED = 1_024;

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
  WARMPATH_MODELS: DeploymentModels.optional(),
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
  /** Whose key it is; null: not this deployment's. */
  keyOf: (presented: string) => ApiKey | null;
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
  const salts = new BoundedMap<string, string>(MOST_REMEMBERED);
  const saltOf = (tenant: string): string => hmac(`salt:${tenant}`).digest("base64url").slice(0, 22);
  const hmac = (text: string) => createHmac("sha256", vars.WARMPATH_SECRET).update(text);
  const mac = (text: string): Uint8Array => hmac(text).digest();
  const keys = new KnownKeys();
  const tokenPerReplica = vars.WARMPATH_JOIN_TOKENS === "replica";
  const joinToken = (pool: string, replica?: string): string => `wpj_${hmac(joinTokenText(pool, replica)).digest("base64url")}`;
  config = {
    ...poolsOf(vars),
    profile: vars.WARMPATH_PROFILE,
    isLoopbackOnly: vars.WARMPATH_LISTENS === "loopback",
    remotePrefillTokens: vars.WARMPATH_REMOTE_PREFILL_TOKENS === 0 ? null : vars.WARMPATH_REMOTE_PREFILL_TOKENS,
    mac,
    keyOf: (presented) => keys.find(presented, (text) => parseKey(text, mac, sameText), steadyNowMs()),
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
function remembered<K, V>(known: BoundedMap<K, V>, key: K, of: (key: K) => V): V {
  const before = known.get(key);
  if (before !== undefined) return before;
  const value = of(key);
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
