/** GET /v1/replicas: the replicas of all pools as they are now. */
import type { Handler } from "hono";
import type { PoolRoster } from "../../src/router/roster.ts";
import type { AppEnv } from "../context.ts";
import type { Env } from "../env.ts";
import { RecentPage } from "../recent-page.ts";
import { eachPool } from "./health.ts";

export type ListedPool = { pool: string } & (PoolRoster | { error: string });

const pages = new WeakMap<Env, RecentPage<ListedPool[]>>();

function pageOf(env: Env): RecentPage<ListedPool[]> {
  const known = pages.get(env) ?? new RecentPage<ListedPool[]>();
  pages.set(env, known);
  return known;
}

async function rostersOf(env: Env): Promise<ListedPool[]> {
  const rosters = await eachPool(env, (stub) => stub.roster() as Promise<PoolRoster>);
  return rosters.map(({ pool, said }) => (said === null ? { pool, error: "does not answer" } : { pool, ...said }));
}

/** At most a second old. A pool that does not answer says so in its place. */
export const replicas: Handler<AppEnv> = async (c) => {
  const data = await pageOf(c.env).read(() => rostersOf(c.env));
  return c.json({ object: "list", data }, 200, { "cache-control": "private, max-age=1" });
};
