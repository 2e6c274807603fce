/** From the model that a client names to the pools that are asked for it, in their order. */
import type { Context } from "hono";
import type { ApiError } from "../src/errors.ts";
import { specFingerprint } from "../src/prefix/segment.ts";
import type { KnownCard, PossiblePool } from "../src/edge/edge-view.ts";
import type { RankedPool } from "../src/edge/rank-pools.ts";
import type { Ask } from "../src/router/dispatcher.ts";
import { rendezvous } from "../src/edge/rendezvous.ts";
import { leastPromptBytes } from "../src/prefix/least-bytes.ts";
import { contextLengthError, type PromptExcess } from "../src/wire/context-length.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import type { Urgency } from "../src/wire/urgency.ts";
import { type AppEnv, background } from "./context.ts";
import type { Config } from "./env.ts";
import { measureRoundTrip, poolCards } from "./pool-card.ts";
import { conversationKey, promptChain, type PromptChain } from "./prompt-chain.ts";
import { steadyNowMs } from "./steady-clock.ts";
import { mintPlacedRequestId, poolOfRequest, UNPLACED } from "./request-id.ts";

export interface PoolTarget {
  pool: string;
  /** `withinMs`: of its client, from its coming on. */
  decide: Omit<Ask, "failed" | "waitedMs">;
}

export interface ChosenPools {
  /** The name of the model that serves. */
  model: string;
  /** At least one. */
  targets: readonly [PoolTarget, ...PoolTarget[]];
  /** Null where there was no choice. */
  reason: string | null;
  /** To be told of the pool whose replica has computed the prompt, or null when none will; idempotent. */
  prefilled: (pool: string | null) => void;
}

export interface Asked {
  request: InnerRequest;
  /** Of the replica. */
  path: string;
  bodyBytes: number;
  /** Of the forwarded body (wire/admission.ts). Made for what a pool is asked about, not for what is refused before. */
  digest: () => string;
  counts: boolean;
  urgency: Urgency;
}

/** A known model's name and what is known of its pools. */
export interface ServedModel {
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
function resolve(config: Config, cards: readonly KnownCard[], { request, salt }: { request: InnerRequest; salt: string }): ServedModel {
  const behind = config.aliases.get(request.model);
  if (behind === undefined) return pick(config, cards, request.model);
  const order = rendezvous(conversationKey(request.prompt, request.session, salt), behind).map((name) => pick(config, cards, name));
  return order.find(isReady) ?? order.find((model) => model.cards.length > 0) ?? { name: request.model, cards: [] };
}

/**
 * Null unless the prompt's bytes alone show that no ready replica's context holds it. A token stands for so many bytes at most, and no tokenizer is needed to
 * divide; what this lets pass a replica looks at more closely.
 */
function excessOf({ cards }: ServedModel, { request, bodyBytes }: Asked): PromptExcess | null {
  const limits = cards.filter(({ card }) => card.replicas > 0).map(({ card }) => card.promptLimit);
  const known = limits.filter((limit) => limit !== undefined);
  if (known.length < limits.length || known.length === 0) return null;
  const contextTokens = Math.max(...known.map((limit) => limit.contextTokens));
  const longestTokenBytes = Math.max(...known.map((limit) => limit.longestTokenBytes));
  // In JSON a text is no shorter than in UTF-8.
  if (bodyBytes < contextTokens * longestTokenBytes) return null;
  const promptTokens = Math.ceil(leastPromptBytes(request.prompt, contextTokens * longestTokenBytes + 1) / longestTokenBytes);
  return promptTokens >= contextTokens ? { promptTokens, exact: false, contextTokens } : null;
}

/** Null when no pool serves the model. Gives the request its id, which names the pool that is asked first and stays whatever becomes of it. */
export async function choosePools(c: Context<AppEnv>, asked: Asked): Promise<ChosenPools | ApiError | null> {
  const config = c.get("config");
  const salt = config.saltOf(c.get("tenant"));
  const { request } = asked;
  let served = resolve(config, await poolCards(c.get("edge"), c.env, background(c)), { request, salt });
  // Its first replica may have come just now.
  if (served.cards.length === 0 && config.pools.length > 1)
    served = resolve(config, await poolCards(c.get("edge"), c.env, background(c), true), { request, salt });
  const excess = excessOf(served, asked);
  if (excess !== null) return contextLengthError(request, excess);
  const chains = new Map<string, PromptChain>();
  const chainFor = ({ hashSpec, model }: KnownCard["card"]): PromptChain => {
    const key = `${specFingerprint(hashSpec)} ${model}`;
    const made = chains.get(key) ?? promptChain(request.prompt, hashSpec, model ?? "", salt);
    chains.set(key, made);
    return made;
  };
  const [first] = served.cards;
  if (first === undefined) return null;
  const ranked =
    served.cards.length === 1 ? null : rank(c, served.cards, chainFor, conversationKey(request.prompt, request.session, salt), asked);
  const pools = ranked?.order.map(({ pool }) => pool) ?? [first.card.pool];
  if (poolOfRequest(c.get("requestId")) === UNPLACED)
    c.set("requestId", mintPlacedRequestId(config, c.get("tenant"), pools[0] ?? first.card.pool));
  const targets = pools.flatMap((pool): PoolTarget[] => {
    const known = served.cards.find(({ card }) => card.pool === pool);
    return known === undefined ? [] : [{ pool, decide: decideRequest(c, known.card, chainFor(known.card), asked, salt) }];
  });
  const [chosen, ...others] = targets;
  if (chosen === undefined) return null;
  const { reason = null, prefilled = () => undefined } = ranked ?? {};
  return { model: served.name, targets: [chosen, ...others], reason, prefilled };
}

function rank(
  c: Context<AppEnv>,
  cards: readonly KnownCard[],
  chainFor: (card: KnownCard["card"]) => PromptChain,
  conversation: bigint,
  { request, counts }: Asked,
): { order: RankedPool[]; reason: string; prefilled: ChosenPools["prefilled"] } {
  const edge = c.get("edge");
  const { regionOf } = c.get("config");
  let promptBytes = 0;
  const pools = cards.map((known): PossiblePool => {
    const { pool } = known.card;
    measureRoundTrip(edge, c.env, pool, background(c));
    const made = chainFor(known.card);
    ({ promptBytes } = made);
    return { known, region: regionOf(pool), chain: made.chain };
  });
  const draw = Number(conversation >> 11n) / 2 ** 53;
  const choice = edge.choose(pools, { promptBytes, conversation, draw, goesOn: request.session !== null, warms: !counts }, steadyNowMs());
  return { ...choice, prefilled: (pool) => choice.prefilled(pool, steadyNowMs()) };
}

function decideRequest(
  c: Context<AppEnv>,
  { hashSpec }: KnownCard["card"],
  { chain, promptBytes }: PromptChain,
  { request, path, bodyBytes, digest, counts, urgency: { priority, withinMs, tpotMs } }: Asked,
  salt: string,
): PoolTarget["decide"] {
  return {
    id: c.get("requestId"),
    tenant: c.get("tenant"),
    salt,
    fingerprint: specFingerprint(hashSpec),
    chain: chain.hashes,
    promptBytes,
    path,
    bodyBytes,
    digest: digest(),
    ...(priority === "normal" ? {} : { priority }),
    ...(withinMs === null ? {} : { withinMs }),
    ...(tpotMs === null ? {} : { tpotMs }),
    session: request.session,
    counts,
  };
}
