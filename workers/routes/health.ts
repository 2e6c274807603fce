/** Pages about the deployment, over all its pools. One that does not answer leaves its part out; it takes no page down. */
import type { Context, Handler } from "hono";
import { mergedFamilies, type MetricFamily, PROMETHEUS_TYPE, prometheusText } from "../../src/prometheus.ts";
import type { AppEnv } from "../context.ts";
import { configOf, type Env } from "../env.ts";
import { isFromThisMachine } from "../middleware/metrics-reader.ts";
import { poolStub } from "../pool-stub.ts";
import { RecentPage } from "../recent-page.ts";

/** A pool that takes longer is left out. */
const ANSWER_MS = 2_000;
/** Shared caches may keep what anyone may read. */
const CACHE = { "cache-control": "public, max-age=1" };

interface Health {
  status: string;
  pools: { pool: string; model: string | null; replicas: number; error?: string }[];
}

interface Pages {
  health: RecentPage<Health>;
  metrics: RecentPage<string>;
}

const pages = new WeakMap<Env, Pages>();

function pagesOf(env: Env): Pages {
  const known = pages.get(env) ?? { health: new RecentPage(), metrics: new RecentPage() };
  pages.set(env, known);
  return known;
}

/** Null of a pool that fails or is late. */
export async function eachPool<T>(
  env: Env,
  ask: (stub: ReturnType<typeof poolStub>) => Promise<T>,
): Promise<{ pool: string; said: T | null }[]> {
  const one = async (pool: string): Promise<{ pool: string; said: T | null }> => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => (timer = setTimeout(() => resolve(null), ANSWER_MS)));
    try {
      return { pool, said: await Promise.race([ask(poolStub(env, pool)), late]) };
    } catch {
      return { pool, said: null };
    } finally {
      clearTimeout(timer);
    }
  };
  const all = await Promise.all(configOf(env).pools.map(one));
  const silent = all.filter(({ said }) => said === null).map(({ pool }) => pool);
  if (silent.length > 0) console.error(`pools that do not answer: ${silent.join(", ")}`);
  return all;
}

/** Who sits at this machine may ask for a page that is made now; to all others it may be a second old. */
const wantsNew = (c: Context<AppEnv>): boolean => c.req.header("cache-control") === "no-cache" && isFromThisMachine(c);

async function healthOf(env: Env): Promise<Health> {
  const cards = await eachPool(env, (stub) => stub.card());
  const pools = cards.map(({ pool, said }) =>
    said === null ? { pool, model: null, replicas: 0, error: "does not answer" } : { pool, model: said.model, replicas: said.replicas },
  );
  return { status: pools.some(({ replicas }) => replicas > 0) ? "ok" : "waiting for replicas", pools };
}

export const health: Handler<AppEnv> = async (c) => {
  const page = await pagesOf(c.env).health.read(() => healthOf(c.env), wantsNew(c));
  return c.json(page, page.status === "ok" ? 200 : 503, CACHE);
};

/** Prometheus text; read from the objects, since an isolate's own counters would be a sample. */
async function metricsOf(env: Env): Promise<string> {
  const told = await eachPool(env, (stub) => stub.metrics() as Promise<MetricFamily[]>);
  return prometheusText(mergedFamilies(told.flatMap(({ said }) => (said === null ? [] : [said]))));
}

export const metrics: Handler<AppEnv> = async (c) => {
  const text = await pagesOf(c.env).metrics.read(() => metricsOf(c.env), wantsNew(c));
  return c.text(text, 200, { "content-type": PROMETHEUS_TYPE, "cache-control": "private, max-age=1" });
};
