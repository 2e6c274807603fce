/**
 * Which pool a request goes to, by the cards that an edge has: the way there + queue + the prefill of what the pool's sketch says it lacks, what that does to
 * others, and the time per token there.
 */
import type { Chain } from "../prefix/chain.ts";
import type { Sketch } from "../residency/sketch.ts";
import { headOf, HEAD_BYTES, rendezvous } from "./rendezvous.ts";
import { computeMs } from "../decision/cost.ts";
import type { Rates } from "../decision/decision.ts";
import type { PoolCard, PoolLoad } from "../router/card.ts";

/** A card's queue is believed for so long; then it fades to the mean of all pools, as it says less and less of the pool. */
const FRESH_MS = 1_500;
const FADE_MS = 3_000;
/** A pool not heard of for so long is asked only when no other is left. */
const SILENT_MS = 15_000;
/** The pool is asked first, then its replica. */
const ROUND_TRIPS = 2;
/** Turns that follow one in the same pool, as they find their prefix there, and go the same way: at most so many count. */
const MOST_NEXT_TURNS = 4;
/**
 * Of the cost of decoding there: a card is up to a second old, and all edges act on the same one, so that the whole of a difference would have all of them
 * go to and fro. Simulated on tuning seeds, a half or a quarter was better than all or nothing.
 */
const DECODE_SHARE = 0.5;
/** Of what ways have cost, to be spent on a prefill nearby: it holds up those behind it, too, about as long. */
const PAID_SHARE = 0.5;
/** Predictions closer than this are equal. */
const EQUAL_MS = 1;
const EQUAL_SHARE = 0.02;
/** What one object can decide in a second (the platform's soft limit), how busy it may be, and what sending on the excess weighs. */
const MOST_DECISIONS = 1_000;
const MOST_BUSY = 0.85;
const SHED_MS = 250;
/** Makes of a draw another one, independent enough. */
const ANOTHER = 89;

export interface PoolSight {
  card: PoolCard;
  region: string;
  /** Since the card was made. */
  ageMs: number;
  rttMs: number;
  /** Null: nothing is known of what it holds. */
  sketch: Sketch | null;
  /** Of the prompt, under this pool's hash spec. */
  chain: Chain;
  /** Prefill that this edge has sent there since the card was made. */
  bookedMs: number;
  /** Requests that it has sent there since; default none. */
  bookedRequests?: number;
  /** Leading segments of the chain that this edge has sent there so lately that the sketch may not have them; default none. */
  sentSegments?: number;
}

interface PoolAsk {
  promptBytes: number;
  /** In [0, 1). The same for all requests of a conversation: where a busy home has it sent, its next turn goes too, before any sketch tells. */
  draw: number;
  /** Its client said what conversation it belongs to, so others will follow it; default no. */
  goesOn?: boolean;
  /** What going far for prompts like this one has cost this edge so far (distance-debt.ts); default nothing. */
  paidMs?: number;
}

export interface RankedPool {
  pool: string;
  predictedMs: number;
  rttMs: number;
  /** Its round trips, and those of the turns that will follow it there. */
  wayMs: number;
  /** In its replicas and before its object. */
  queueMs: number;
  prefillMs: number;
  /** What that prefill does to others there. */
  harmMs: number;
  /** What decoding among the others there costs it and them. */
  decodeMs: number;
  /** Of prefill, harm and away so much is paid for already, by the ways to where the prefix lies; only of the nearest pool. */
  paidMs: number;
  /** Not at home in this pool: what computing the prompt's head once more, in one more pool, costs. */
  awayMs: number;
  promptTokens: number;
  /** Leading tokens that the sketch says it holds. */
  heldTokens: number;
  /** Why it is asked last; null when it is not. */
  barred: "no replica" | "silent" | null;
}

export interface PoolChoice {
  /** To be asked in this order. */
  order: RankedPool[];
  /** One sentence with numbers. */
  reason: string;
  /** Way of the first beyond the nearest pool's, when it goes there for the prefix. */
  extraWayMs: number;
}

function heldBytes({ sketch, chain, sentSegments = 0 }: PoolSight): number {
  // The lower end of what the sketch leaves open: a prompt parts from what is held near a sampled segment or, mostly, at once.
  const held = Math.max(sentSegments, sketch === null ? 0 : sketch.overlap(chain.hashes).held);
  return held === 0 ? 0 : (chain.ends[held - 1] ?? 0);
}

/** By region, the pool that is home to this prompt's head: where all edges send it as long as that costs no time. */
function homesOf(sights: readonly PoolSight[]): ReadonlySet<string> {
  const homes = new Set<string>();
  for (const region of new Set(sights.map((sight) => sight.region))) {
    const here = sights.filter((sight) => sight.region === region);
    const { hashes, ends } = here[0]?.chain ?? { hashes: new BigUint64Array(), ends: new Uint32Array() };
    const names = here.map(({ card }) => ({ name: card.pool, weight: 1 }));
    const [home] = rendezvous(headOf(hashes, ends), names);
    if (home !== undefined) homes.add(home);
  }
  return homes;
}

/** What is left by now of the queue that the card told, with what this edge has added since: a millisecond of it is done each millisecond. */
function queueNowMs({ card, ageMs, bookedMs }: PoolSight, meanQueueMs: number): number {
  const belief = Math.exp(-Math.max(0, ageMs - FRESH_MS) / FADE_MS);
  const toldMs = belief * card.load.queueMs + (1 - belief) * meanQueueMs;
  return Math.max(0, toldMs + bookedMs / Math.max(1, card.replicas) - ageMs);
}

type PrefillRates = Pick<Rates, "prefillMsPerToken" | "attentionMsPerPair">;

/** What a request of this model knows of all its pools. */
interface Common {
  meanQueueMs: number;
  /** Means of those that have learnt theirs; null: none has. */
  prefill: PrefillRates | null;
  /** That follow one on average. */
  nextTurns: number;
  /** Round trip to the nearest pool. */
  nearestMs: number;
}

const prefillOf = ({ prefillMsPerToken, attentionMsPerPair = 0 }: PoolLoad): PrefillRates => ({ prefillMsPerToken, attentionMsPerPair });

function commonOf(alive: readonly PoolSight[]): Common {
  const loads = alive.map(({ card }) => card.load);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const learnt = loads.filter(({ guessed }) => guessed !== true).map(prefillOf);
  // A share s of what is asked was asked before: each request is followed by s / (1 - s) others that go on with it.
  const reused = mean(loads.map(({ reusedShare = 0 }) => reusedShare));
  return {
    meanQueueMs: mean(loads.map(({ queueMs }) => queueMs)),
    prefill:
      learnt.length === 0
        ? null
        : {
            prefillMsPerToken: mean(learnt.map(({ prefillMsPerToken }) => prefillMsPerToken)),
            attentionMsPerPair: mean(learnt.map(({ attentionMsPerPair }) => attentionMsPerPair)),
          },
    nearestMs: Math.min(...alive.map(({ rttMs }) => rttMs)),
    nextTurns: reused >= 1 ? MOST_NEXT_TURNS : Math.min(MOST_NEXT_TURNS, reused / (1 - reused)),
  };
}

/** Waiting for the pool's object: M/D/1. Of what goes beyond `MOST_BUSY` the share is sent away, by a lot of its own, and no more: the others stay. */
function decisionMs({ card }: PoolSight, lot: number): number {
  const busy = card.load.decisionsPerSecond / MOST_DECISIONS;
  const below = Math.min(busy, MOST_BUSY);
  const waitMs = ((1_000 / MOST_DECISIONS) * below) / (2 * (1 - below));
  return waitMs + (lot < (busy - MOST_BUSY) / busy ? SHED_MS : 0);
}

/** Who was sent there since the card was made is taken to decode like those it counts. */
function decodeNowMs({ card, bookedRequests = 0 }: PoolSight, promptTokens: number): number {
  const { decodeMs = 0, decodeMsPerToken = 0, inFlight } = card.load;
  return DECODE_SHARE * (decodeMs + decodeMsPerToken * promptTokens) * (1 + bookedRequests / Math.max(1, inFlight));
}

function rank(sight: PoolSight, ask: PoolAsk, common: Common, isHome: boolean): RankedPool {
  const { card, rttMs, ageMs } = sight;
  const { bytesPerToken, guessed } = card.load;
  // A pool's guess is high, so that it would never be asked, and never learn.
  const isGuess = guessed === true && common.prefill !== null;
  const rates = (isGuess ? common.prefill : null) ?? prefillOf(card.load);
  const held = Math.min(heldBytes(sight), ask.promptBytes);
  const promptTokens = Math.max(1, ask.promptBytes / bytesPerToken);
  const heldTokens = held / bytesPerToken;
  const prefillMs = computeMs(rates, heldTokens, promptTokens - heldTokens);
  const queueMs = queueNowMs(sight, common.meanQueueMs) + decisionMs(sight, (ask.draw * ANOTHER) % 1);
  const missingHead = Math.max(0, Math.min(HEAD_BYTES, ask.promptBytes) - held) / bytesPerToken;
  const awayMs = isHome ? 0 : computeMs(rates, heldTokens, missingHead);
  const barred = card.replicas === 0 ? "no replica" : ageMs > SILENT_MS ? "silent" : null;
  const wayMs = ROUND_TRIPS * rttMs * (1 + (ask.goesOn === true ? common.nextTurns : 0));
  const harmMs = prefillMs * (card.load.harmPerMs ?? 0);
  const decodeMs = isGuess ? 0 : decodeNowMs(sight, promptTokens);
  const isNearest = rttMs <= common.nearestMs + EQUAL_MS;
  const paidMs = isNearest ? Math.min(PAID_SHARE * (ask.paidMs ?? 0), prefillMs + harmMs + awayMs) : 0;
  const predictedMs = wayMs + queueMs + prefillMs + harmMs + decodeMs + awayMs - paidMs;
  const parts = { rttMs, wayMs, queueMs, prefillMs, harmMs, decodeMs, paidMs, awayMs };
  return { pool: card.pool, predictedMs, ...parts, promptTokens, heldTokens, barred };
}

/**
 * Of those that are neither home nor hold more than the head, two by the draw: if all edges saw all pools, each second's least loaded one would be flooded
 * by all (Mitzenmacher 2000, How useful is old information).
 */
function drawnOf(others: readonly RankedPool[], draw: number): ReadonlySet<RankedPool> {
  const first = draw * others.length;
  const second = (first - Math.floor(first)) * others.length;
  return new Set([first, second].flatMap((place) => others[Math.floor(place)] ?? []));
}

/** All pools, the one with the least predicted time first; those that can hardly answer come last. */
export function choosePool(sights: readonly PoolSight[], ask: PoolAsk): PoolChoice {
  const alive = sights.filter(({ card }) => card.replicas > 0);
  const common = commonOf(alive);
  const homes = homesOf(alive);
  const ranked = sights.map((sight) => rank(sight, ask, common, homes.has(sight.card.pool) || sight.card.replicas === 0));
  const first = Math.floor(ask.draw * ranked.length);
  const turned = [...ranked.slice(first), ...ranked.slice(0, first)];
  const isOther = ({ pool, heldTokens, promptTokens }: RankedPool): boolean =>
    !homes.has(pool) && heldTokens * ask.promptBytes <= HEAD_BYTES * promptTokens;
  const others = ranked.filter((pool) => pool.barred === null && isOther(pool));
  const drawn = drawnOf(others, ask.draw);
  const lastly = (pool: RankedPool): number => {
    if (pool.barred !== null) return pool.barred === "silent" ? 2 : 3;
    return isOther(pool) && !drawn.has(pool) ? 1 : 0;
  };
  const order = turned.toSorted((a, b) => lastly(a) - lastly(b) || a.predictedMs - b.predictedMs);
  const best = order[0];
  if (best === undefined) return { order, reason: "no pool serves this model", extraWayMs: 0 };
  const limit = best.predictedMs + Math.max(EQUAL_MS, best.predictedMs * EQUAL_SHARE);
  const isEqual = (pool: RankedPool): boolean => lastly(pool) === lastly(best) && pool.predictedMs <= limit;
  // Among equals the head's home, so that all edges send a new prompt's successors to one place; between regions the draw decides.
  const equals = turned.filter(isEqual).toSorted((a, b) => Number(homes.has(b.pool)) - Number(homes.has(a.pool)));
  const settled = [...equals, ...order.filter((pool) => !isEqual(pool))];
  return { order: settled, reason: reasonFor(settled), extraWayMs: extraWayOf(settled, common.nearestMs) };
}

/** Who goes far because the nearest is busy pays for nothing that the nearest could hold. */
function extraWayOf(order: readonly RankedPool[], nearestMs: number): number {
  const [chosen] = order;
  const near = order.filter(({ barred, rttMs }) => barred === null && rttMs <= nearestMs + EQUAL_MS);
  if (chosen === undefined || near.length === 0 || near.includes(chosen)) return 0;
  const nearHeld = Math.max(...near.map(({ heldTokens }) => heldTokens));
  return chosen.heldTokens > nearHeld ? ROUND_TRIPS * (chosen.rttMs - nearestMs) : 0;
}

function reasonFor([chosen, next, ...others]: readonly RankedPool[]): string {
  if (chosen === undefined) return "";
  const holds = `${chosen.pool} holds ~${count(chosen.heldTokens)} of ~${count(chosen.promptTokens)} prompt tokens`;
  const harm = chosen.harmMs === 0 ? "" : `, ${millis(chosen.harmMs)} for others there`;
  const decode = chosen.decodeMs === 0 ? "" : `, ${millis(chosen.decodeMs)} for the pace there`;
  const paid = chosen.paidMs === 0 ? "" : `, less ${millis(chosen.paidMs)} that ways elsewhere have cost`;
  const parts = `${millis(chosen.wayMs)} of way, ${millis(chosen.queueMs)} of queue, ${millis(chosen.prefillMs)} of prefill${harm}${decode}${paid}`;
  const said = chosen.barred === null ? "" : ` (${chosen.barred})`;
  if (next === undefined) return `${holds}; ${parts}${said}; no other pool serves this model`;
  const rest = others.length === 0 ? "" : ` and ${others.length} more`;
  const why = next.barred === null ? `${millis(next.predictedMs)} in ${next.pool}` : `${next.pool} (${next.barred})`;
  return `${holds}; ${parts}: ${millis(chosen.predictedMs)}${said} against ${why}${rest}`;
}

/** 12345 → "12,345". */
function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}

function millis(value: number): string {
  return `${Math.abs(value) < 10 ? String(Math.round(value * 10) / 10) : count(value)} ms`;
}
