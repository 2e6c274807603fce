import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import { encodedOfRow } from "../../src/explain/record.ts";
import { type PoolDecisions, listDecisions } from "../../src/explain/listing.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { poolStub } from "../pool-stub.ts";
import { isRequestOf, poolOfRequest, requestOfAnswer } from "../request-id.ts";

/** So many pools may have been asked for one request. */
const MOST_POOLS = 16;

interface PoolAttempts {
  pool: string;
  attempts: { decidedAtMs: number }[];
}

/** By all pools of the model; attempts in the order in which they were decided, each with its pool. Null when none knows the id. */
async function toldBySeveral(c: Context<AppEnv>, id: string, pool: string): Promise<string | null> {
  const { models, pools } = c.get("config");
  if (!isRequestOf(c.get("config"), c.get("tenant"), id)) return null;
  const same = models === null ? pools : ([...models.values()].find((of) => of.includes(pool)) ?? []);
  const asked = [pool, ...same.filter((other) => other !== pool)].slice(0, MOST_POOLS);
  const answers = await Promise.allSettled(asked.map((each) => poolStub(c.env, each).explain(id, c.get("tenant"))));
  const told = answers.flatMap((answer): PoolAttempts[] =>
    answer.status === "fulfilled" && answer.value !== null ? [JSON.parse(answer.value) as PoolAttempts] : [],
  );
  const attempts = told.flatMap((each) => each.attempts.map((attempt) => ({ pool: each.pool, ...attempt })));
  attempts.sort((one, other) => one.decidedAtMs - other.decidedAtMs);
  const last = attempts.at(-1);
  return last === undefined ? null : JSON.stringify({ object: "decision", id, pool: last.pool, attempts });
}

/** Why a request went where it went, told to its own tenant only. */
export const decisions: Handler<AppEnv, "/v1/decisions/:id"> = async (c) => {
  const id = requestOfAnswer(c.get("config"), c.get("tenant"), c.req.param("id"));
  const pool = poolOfRequest(id);
  const none = (): Response =>
    errorResponse(
      c,
      apiError(
        "not_found",
        "No such decision is kept. The id is that of `x-request-id`, or the answer's own. A tenant's last hundred are kept, and more while there is room.",
        "id",
      ),
    );
  if (pool === null || !c.get("config").pools.includes(pool)) return none();
  const several = c.get("config").pools.length > 1;
  const json = await (several ? toldBySeveral(c, id, pool) : poolStub(c.env, pool).explain(id, c.get("tenant")));
  return json === null ? none() : new Response(json, { headers: { "content-type": "application/json" } });
};

const MOST_LISTED = 1_000;
const DEFAULT_LISTED = 100;
/** Of records, from all pools together. */
const MOST_LISTED_BYTES = 16 * 1024 * 1024;

function listOf(c: Context<AppEnv>): { limit: number; pools: readonly string[] } | ApiError {
  const limitText = c.req.query("limit") ?? String(DEFAULT_LISTED);
  const limit = /^\d{1,4}$/.test(limitText) ? Number(limitText) : 0;
  if (limit < 1 || limit > MOST_LISTED) return apiError("invalid_request", `\`limit\` must be from 1 to ${MOST_LISTED}.`, "limit");
  const { pools } = c.get("config");
  const pool = c.req.query("pool");
  if (pool === undefined && pools.length > MOST_POOLS)
    return apiError("invalid_request", `There are more than ${MOST_POOLS} pools: name one with \`pool\`.`, "pool");
  if (pool !== undefined && !pools.includes(pool)) return apiError("not_found", "There is no such pool.", "pool");
  return { limit, pools: pool === undefined ? pools : [pool] };
}

/** The tenant's last decisions, of one pool or of all that answer; `warmpath replay` reads it. */
export const decisionList: Handler<AppEnv> = async (c) => {
  const asked = listOf(c);
  if ("code" in asked) return errorResponse(c, asked);
  const { limit, pools } = asked;
  const mostBytes = Math.floor(MOST_LISTED_BYTES / pools.length);
  const answers = await Promise.allSettled(
    pools.map(async (pool): Promise<PoolDecisions> => {
      const { funnel, records } = await poolStub(c.env, pool).decisionsOf(c.get("tenant"), limit, mostBytes);
      return { pool, funnel, records: records.map(encodedOfRow) };
    }),
  );
  const kept = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  if (kept.length === 0) return errorResponse(c, apiError("internal", "No pool answers. Try again."));
  return c.json(listDecisions(kept, limit), 200, { "cache-control": "no-store" });
};
