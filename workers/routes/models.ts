import type { Context, Handler } from "hono";
import { type AppEnv, background, dialectOf, errorResponse } from "../context.ts";
import { poolCards } from "../pool-card.ts";
import { servedModels, unknownModel } from "../inference/choose.ts";

interface Listed {
  model: string;
  createdAtSeconds: number;
  /** That every pool of it takes, tokens; null while no replica is here to say so. */
  contextTokens: number | null;
}

const leastOf = (contexts: readonly (number | null | undefined)[]): number | null => {
  const known = contexts.filter((tokens) => typeof tokens === "number");
  return known.length === 0 ? null : Math.min(...known);
};

/** Every model and, behind them, every alias of one of these; each as old as its oldest pool. */
async function served(c: Context<AppEnv>): Promise<Listed[]> {
  const config = c.get("config");
  const cards = await poolCards(c.get("edge"), c.env, background(c), config.pools.length > 1);
  const models = servedModels(config, cards).map(({ name, cards: own }): Listed => ({
    model: name,
    createdAtSeconds: Math.min(...own.map(({ card }) => card.createdAtSeconds)),
    contextTokens: leastOf(own.map(({ card }) => card.contextTokens)),
  }));
  const aliases = [...config.aliases].flatMap(([alias, behind]): Listed[] => {
    const known = models.filter(({ model }) => behind.some(({ name }) => name === model));
    if (known.length === 0) return [];
    const createdAtSeconds = Math.min(...known.map((one) => one.createdAtSeconds));
    return [{ model: alias, createdAtSeconds, contextTokens: leastOf(known.map((one) => one.contextTokens)) }];
  });
  return [...models, ...aliases];
}

/** OpenAI has no word for the context's length. Clients read vLLM's, OpenRouter's or LiteLLM's. */
const openaiModel = ({ model, createdAtSeconds, contextTokens }: Listed) => ({
  id: model,
  object: "model",
  created: createdAtSeconds,
  owned_by: "warmpath",
  ...(contextTokens === null ? {} : { max_model_len: contextTokens, context_length: contextTokens, max_input_tokens: contextTokens }),
});

/** All keys that Anthropic's clients have in their types; null: no word of it. */
const anthropicModel = (card: Listed) => ({
  type: "model",
  id: card.model,
  display_name: card.model,
  created_at: new Date(card.createdAtSeconds * 1000).toISOString(),
  capabilities: null,
  deprecated_at: null,
  lifecycle: "active",
  line: null,
  max_input_tokens: card.contextTokens,
  max_tokens: card.contextTokens,
  retires_at: null,
});

export const models: Handler<AppEnv> = async (c) => {
  const cards = await served(c);
  if (dialectOf(c) !== "anthropic-models") return c.json({ object: "list", data: cards.map(openaiModel) });
  const ids = { first_id: cards[0]?.model ?? null, last_id: cards.at(-1)?.model ?? null };
  return c.json({ data: cards.map(anthropicModel), has_more: false, ...ids });
};

export const model: Handler<AppEnv, "/v1/models/:id{.+}"> = async (c) => {
  const id = c.req.param("id");
  const card = (await served(c)).find((candidate) => candidate.model === id);
  if (card === undefined) return errorResponse(c, unknownModel(id));
  return c.json(dialectOf(c) === "anthropic-models" ? anthropicModel(card) : openaiModel(card));
};
