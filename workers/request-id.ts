/** Ids are minted here and lead to the pool that decided: `req_<pool>_<32 hex digits>`. A client's own id is never used for anything. */
import { placeOfDay } from "../src/records/record-day.ts";
import { type Config, sameText } from "./env.ts";

const SHAPE = /^req_([0-9A-Za-z.-]{1,64})_([0-9a-f]{20})([0-9a-f]{12})$/;

/** Where the pool's name stands, before there is one. */
const UNPLACED = "none";

/** Of a request that never gets to a pool. */
export const mintRequestId = (): string => `req_${UNPLACED}_${crypto.randomUUID().replaceAll("-", "")}`;

const tagOf = (config: Config, tenant: string, pool: string, chance: string): string =>
  Buffer.from(config.mac(`request:${tenant}:${pool}:${chance}`))
    .toString("hex")
    .slice(0, 12);

/**
 * The first 2 of its 32 digits are the place of today in the ring of days, by which what is kept of the request is found; the last 12 say
 * whose it is, to this deployment only: see `isRequestOf`.
 */
export function mintPlacedRequestId(config: Config, tenant: string, pool: string, nowMs = Date.now()): string {
  const chance = Buffer.from([placeOfDay(nowMs), ...crypto.getRandomValues(new Uint8Array(9))]).toString("hex");
  return `req_${pool}_${chance}${tagOf(config, tenant, pool, chance)}`;
}

/** Whether this id was minted for the tenant. Objects named by made-up ids are thus never touched: each would leave an empty file. */
export function isRequestOf(config: Config, tenant: string, id: string): boolean {
  const [, pool = "", chance = "", tag = ""] = SHAPE.exec(id) ?? [];
  return pool !== "" && sameText(tag, tagOf(config, tenant, pool, chance));
}

export const poolOfRequest = (id: string): string | null => SHAPE.exec(id)?.[1] ?? null;

/** Of the day on which a placed request came, 0 … 31. */
export const dayPlaceOfRequest = (id: string): number => Number.parseInt(SHAPE.exec(id)?.[2]?.slice(0, 2) ?? "0", 16);

/** Ids of answers and of their parts end like their request's id (src/wire/answer-event.ts). */
const ANSWER = /^(?:chatcmpl-|cmpl-|msg_|rs_|fc_)([0-9a-f]{20})([0-9a-f]{12})(?:_\d{1,6})?$/;
const RESPONSE = "resp_";

/**
 * The request that an answer's id came from: `chatcmpl-…`, `cmpl-…`, `msg_…` or `resp_…`. Its pool is the one whose tag fits, so no pool is
 * asked. An id of another kind, or of another tenant, comes back as it is.
 */
export function requestOfAnswer(config: Config, tenant: string, id: string): string {
  if (id.startsWith(RESPONSE)) return `req_${id.slice(RESPONSE.length)}`;
  const [, chance = "", tag = ""] = ANSWER.exec(id) ?? [];
  if (chance === "") return id;
  const pool = config.pools.find((each) => sameText(tag, tagOf(config, tenant, each, chance)));
  return pool === undefined ? id : `req_${pool}_${chance}${tag}`;
}
