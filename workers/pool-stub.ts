import { configOf, type Env } from "./env.ts";
import type { PoolObject } from "./objects/pool-object.ts";

/** Where Cloudflare can be asked to put an object. A region of this name puts its pools there; any other is a name only. */
const LOCATIONS = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"] as const;

/** Whoever calls a pool first decides where it lives, so that all must call it through this. */
export function poolStub(env: Env, pool: string): DurableObjectStub<PoolObject> {
  const region = configOf(env).regionOf(pool);
  const locationHint = LOCATIONS.find((location) => location === region);
  return env.POOL.getByName(pool, locationHint === undefined ? {} : { locationHint });
}
