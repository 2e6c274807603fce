import type { Handler } from "hono";
import { apiError } from "../../src/errors.ts";
import type { PoolCard } from "../../src/routing/dispatcher.ts";
import { type AppEnv, background, errorResponse } from "../context.ts";
import { poolCard } from "../pool-card.ts";

const modelObject = (card: PoolCard) => ({ id: card.model, object: "model", created: card.createdAtSeconds, owned_by: "warmpath" });

export const models: Handler<AppEnv> = async (c) => {
  const cards = await Promise.all(c.get("config").pools.map((pool) => poolCard(c.env, pool, background(c))));
  return c.json({ object: "list", data: cards.filter((card) => card.model !== null).map(modelObject) });
};

export const model: Handler<AppEnv, "/v1/models/:id{.+}"> = async (c) => {
  const id = c.req.param("id");
  const cards = await Promise.all(c.get("config").pools.map((pool) => poolCard(c.env, pool, background(c))));
  const card = cards.find((candidate) => candidate.model === id);
  if (card === undefined)
    return errorResponse(
      apiError(
        "model_not_found",
        `The model ${JSON.stringify(id.slice(0, 128))} does not exist here. GET /v1/models lists those that do.`,
        "model",
      ),
    );
  return c.json(modelObject(card));
};
