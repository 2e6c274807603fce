import type { Handler } from "hono";
import type { AppEnv } from "../context.ts";
import { configOf } from "../env.ts";
import { poolStub } from "../pool-stub.ts";

export const health: Handler<AppEnv> = async (c) => {
  const pools = await Promise.all(configOf(c.env).pools.map((pool) => poolStub(c.env, pool).card()));
  const ready = pools.some((pool) => pool.replicas > 0);
  const told = pools.map(({ pool, model, replicas }) => ({ pool, model, replicas }));
  return c.json({ status: ready ? "ok" : "waiting for replicas", pools: told }, ready ? 200 : 503);
};

/** Prometheus text; read from the objects, since an isolate's own counters would be a sample. */
export const metrics: Handler<AppEnv> = async (c) => {
  const pages = await Promise.all(configOf(c.env).pools.map((pool) => poolStub(c.env, pool).metrics()));
  return c.text(pages.join(""), 200, { "content-type": "text/plain; version=0.0.4" });
};
