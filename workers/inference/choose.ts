/** From the model that a client names to the pools that are asked for it, in their order. */
import { type ApiError, apiError } from "../../src/errors.ts";
import { specFingerprint } from "../../src/prefix/segment.ts";
import type { KnownCard, PossiblePool } from "../../src/edge/edge-view.ts";
import type { RankedPool } from "../../src/edge/rank-pools.ts";
import type { Ask } from "../../src/router/dispatcher.ts";
import { rendezvous } from "../../src/edge/rendezvous.ts";
import { leastPromptBytes } from "../../src/prefix/least-bytes.ts";
import { contextLengthError, type PromptExcess } from "../../src/wire/context-length.ts";
import type { Config } from "../env.ts";
import { measureRoundTrip, poolCards } from "../pool-card.ts";
import { conversationKey, promptChain, type PromptChain } from "../prompt-chain.ts";
import { steadyNowMs } from "../steady-clock.ts";
import type { InferenceCall } from "./call.ts";

export interface PoolTarget {
  pool: string;
  /** `withinMs`: of its client, from its coming on. */
  decide: Omit<Ask, "failed" | "waitedMs">;
}

export interface ChosenPools {
  /** Of the request. */
  id: string;
  /** The name of the model that serves. */
  model: string;
  /** At least one. */
  targets: readonly [PoolTarget, ...PoolTarget[]];
  /** Null where there was no choice. */
  reason: string | null;
  /** To be told of the pool whose replica has computed the prompt, or null when none will; idempotent. */
  prefilled: (pool: string | null) => void;
}

/** A known model's name and what is known of its pools. */
interface ServedModel {
  name: string;
  cards: readonly KnownCard[];
}

/** Of the name itself, or of the models behind an alias; only pools that have had a replica. */
function pick(config: Config, cards: readonly KnownCard[], name: string): ServedModel {
  const pools = config.models?.get(name);
  const serves = ({ card }: KnownCard): boolean =>
    card.model !== null && (config.models === null ? card.model === name : pools?.includes(card.pool) === true);
  return { name, cards: cards.filter(serves) };
}

/** Every model that has had a replica, once. */
export function servedModels(config: Config, cards: readonly KnownCard[]): ServedModel[] {
  const names = config.models?.keys() ?? cards.flatMap(({ card }) => card.model ?? []);
  return [...new Set(names)].map((name) => pick(config, cards, name)).filter((model) => model.cards.length > 0);
}

const isReady = ({ cards }: ServedModel): boolean => cards.some(({ card }) => card.replicas > 0);

/** An alias leads a conversation to the same model each time, as long as that has a replica. */
function resolve({ here: { config }, asked: { request } }: InferenceCall, cards: readonly KnownCard[], salt: string): ServedModel {
  const behind = config.aliases.get(request.model);
  if (behind === undefined) return pick(config, cards, request.model);
  const order = rendezvous(conversationKey(request.prompt, request.session, salt), behind).map((name) => pick(config, cards, name));
  return order.find(isReady) ?? order.find((model) => model.cards.length > 0) ?? { name: request.model, cards: [] };
}

/**
 * Null unless the prompt's bytes alone show that no ready replica's context holds it. A token stands for so many bytes at most, and no tokenizer is needed to
 * divide; what this lets pass a replica looks at more closely.
 */
function excessOf({ cards }: ServedModel, { request, body }: InferenceCall["asked"]): PromptExcess | null {
  const limits = cards.filter(({ card }) => card.replicas > 0).map(({ card }) => card.promptLimit);
  const known = limits.filter((limit) => limit !== undefined);
  if (known.length < limits.length || known.length === 0) return null;
  const contextTokens = Math.max(...known.map((limit) => limit.contextTokens));
  const longestTokenBytes = Math.max(...known.map((limit) => limit.longestTokenBytes));
  // In JSON a text is no shorter than in UTF-8.
  if (body.byteLength < contextTokens * longestTokenBytes) return null;
  const promptTokens = Math.ceil(leastPromptBytes(request.prompt, contextTokens * longestTokenBytes + 1) / longestTokenBytes);
  return promptTokens >= contextTokens ? { promptTokens, exact: false, contextTokens } : null;
}

export function unknownModel(name: string): ApiError {
  const message = `The model ${JSON.stringify(name.slice(0, 128))} does not exist here. GET /v1/models lists those that do.`;
  return apiError("model_not_found", message, "model");
}

/** Gives the request its id, which names the pool that is asked first. */
export async function choosePools(call: InferenceCall): Promise<ChosenPools | ApiError> {
  const { here, asked } = call;
  const { config, view, env, background } = here;
  const { request } = asked;
  const salt = config.saltOf(asked.tenant);
  let served = resolve(call, await poolCards(view, env, background), salt);
  // Its first replica may have come just now.
  if (served.cards.length === 0 && config.pools.length > 1) served = resolve(call, await poolCards(view, env, background, true), salt);
  const excess = excessOf(served, asked);
  if (excess !== null) return contextLengthError(request, excess);
  const [first] = served.cards;
  if (first === undefined) return unknownModel(request.model);
  const chains = new Map<string, PromptChain>();
  const chainFor = ({ hashSpec, model }: KnownCard["card"]): PromptChain => {
    const key = `${specFingerprint(hashSpec)} ${model}`;
    const made = chains.get(key) ?? promptChain(request.prompt, hashSpec, model ?? "", salt);
    chains.set(key, made);
    return made;
  };
  const ranked = served.cards.length === 1 ? null : rank(call, served.cards, chainFor, salt);
  const cards = ranked?.order.flatMap(({ pool }) => served.cards.find(({ card }) => card.pool === pool) ?? []) ?? [first];
  const id = call.idAt((cards[0] ?? first).card.pool);
  const [target = targetOf(call, id, first.card, chainFor(first.card), salt), ...others] = cards.map(({ card }) =>
    targetOf(call, id, card, chainFor(card), salt),
  );
  const { reason = null, prefilled = () => undefined } = ranked ?? {};
  return { id, model: served.name, targets: [target, ...others], reason, prefilled };
}

function rank(
  { here: { view, env, config, background }, asked: { request, work } }: InferenceCall,
  cards: readonly KnownCard[],
  chainFor: (card: KnownCard["card"]) => PromptChain,
  salt: string,
): { order: RankedPool[]; reason: string; prefilled: ChosenPools["prefilled"] } {
  const conversation = conversationKey(request.prompt, request.session, salt);
  let promptBytes = 0;
  const pools = cards.map((known): PossiblePool => {
    const { pool } = known.card;
    measureRoundTrip(view, env, pool, background);
    const made = chainFor(known.card);
    ({ promptBytes } = made);
    return { known, region: config.regionOf(pool), chain: made.chain };
  });
  const draw = Number(conversation >> 11n) / 2 ** 53;
  const ask = { promptBytes, conversation, draw, goesOn: request.session !== null, warms: work !== "count" };
  const choice = view.choose(pools, ask, steadyNowMs());
  return { ...choice, prefilled: (pool) => choice.prefilled(pool, steadyNowMs()) };
}

function targetOf(
  { asked, digest }: InferenceCall,
  id: string,
  { pool, hashSpec }: KnownCard["card"],
  { chain, promptBytes }: PromptChain,
  salt: string,
): PoolTarget {
  const { request, path, body, work, tenant } = asked;
  const { priority, withinMs, tpotMs } = asked.urgency;
  return {
    pool,
    decide: {
      id,
      tenant,
      salt,
      fingerprint: specFingerprint(hashSpec),
      chain: chain.hashes,
      promptBytes,
      path,
      bodyBytes: body.byteLength,
      digest,
      ...(priority === "normal" ? {} : { priority }),
      ...(withinMs === null ? {} : { withinMs }),
      ...(tpotMs === null ? {} : { tpotMs }),
      session: request.session,
      counts: work === "count",
    },
  };
}
