import { z } from "zod";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { PoolObject } from "./objects/pool-object.ts";
import type { ResponseObject } from "./objects/response-object.ts";
import { DEFAULT_REMOTE_PREFILL_TOKENS } from "../src/routing/pool-state.ts";

export interface Env {
  POOL: DurableObjectNamespace<PoolObject>;
  RESPONSE: DurableObjectNamespace<ResponseObject>;
  WARMPATH_SECRET: string;
  WARMPATH_POOLS: string;
  WARMPATH_PROFILE: string;
  WARMPATH_REMOTE_PREFILL_TOKENS?: string;
}

const Vars = z.object({
  WARMPATH_SECRET: z.string().min(16),
  WARMPATH_POOLS: z.string().transform((names) =>
    names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  ),
  WARMPATH_PROFILE: z.enum(["cache-aware", "least-loaded", "round-robin", "random"]),
  /** Uncached tokens from which on another replica prefills, where one is there for it; 0: never. */
  WARMPATH_REMOTE_PREFILL_TOKENS: z.coerce.number().int().min(0).max(1_000_000).default(DEFAULT_REMOTE_PREFILL_TOKENS),
});

export interface Config {
  pools: readonly string[];
  profile: z.infer<typeof Vars>["WARMPATH_PROFILE"];
  /** Null: never. */
  remotePrefillTokens: number | null;
  /** HMAC-SHA-256 under the deployment's secret. */
  mac: (text: string) => Uint8Array;
  /** The token with which a replica joins `pool`. */
  joinToken: (pool: string) => string;
  /** What isolates this tenant's cache from all others. */
  saltOf: (tenant: string) => string;
}

const known = new WeakMap<Env, Config>();

/** Parsed once an isolate; throws on a deployment that is configured wrongly, saying which variable. */
export function configOf(env: Env): Config {
  let config = known.get(env);
  if (config !== undefined) return config;
  const vars = Vars.parse(env);
  const hmac = (text: string) => createHmac("sha256", vars.WARMPATH_SECRET).update(text);
  config = {
    pools: vars.WARMPATH_POOLS,
    profile: vars.WARMPATH_PROFILE,
    remotePrefillTokens: vars.WARMPATH_REMOTE_PREFILL_TOKENS === 0 ? null : vars.WARMPATH_REMOTE_PREFILL_TOKENS,
    mac: (text) => hmac(text).digest(),
    joinToken: (pool) => `wpj_${hmac(`join:${pool}`).digest("base64url")}`,
    saltOf: (tenant) => hmac(`salt:${tenant}`).digest("base64url").slice(0, 22),
  };
  known.set(env, config);
  return config;
}

/** Equality in time that does not tell where two texts differ. */
export function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
