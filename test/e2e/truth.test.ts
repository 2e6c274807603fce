/** What the pool predicts against what the engine then reports, turn by turn, with and without evictions; and where follow-up turns go. */
import { afterAll, expect, test } from "vitest";
import {
  type Attempt,
  type ConversationPlan,
  makeConversations,
  type Measured,
  play,
  type PlayOptions,
  seededRandom,
  withDecisions,
} from "../bench/conversations.ts";
import { writeResult } from "../bench/result.ts";
import { type Started, startProduct } from "./started.ts";

const BLOCK_TOKENS = 32;
const KEPT = process.env.WARMPATH_RESULTS === "1";
/** `npm run bench:truth` plays more of the same, and keeps the figures. */
const PLAN: ConversationPlan = {
  seed: 7,
  ...(KEPT ? { groups: 4, conversations: 24, turns: 6 } : { groups: 3, conversations: 12, turns: 4 }),
  systemBytes: 2_048,
  userWords: 60,
};
/** Places of one of three replicas for so many hundredths of the conversations, all replicas together. */
const placesFor = (percent: number): number => Math.round((PLAN.conversations * percent) / 300);
const ANSWER_TOKENS = KEPT ? 48 : 32;
/** So many untrue predictions are not too many: a hundredth's share of few requests is less than one. */
const most = (requests: number, percent: number): number => Math.max(1, Math.floor((requests * percent) / 100));
const REQUESTS = PLAN.conversations * PLAN.turns;

const products: Started[] = [];
afterAll(() => Promise.all(products.map((product) => product.stop())));

type PlayedRequest = Measured & { attempt: Attempt };

/** Every request answered in full, with the decision that placed it. */
async function playAll({
  sequences,
  concurrency,
  maxTokens,
  next,
}: {
  sequences: number;
} & PlayOptions): Promise<PlayedRequest[]> {
  const product = await startProduct({ replicas: 3, profile: "cache-aware", sequences, contextTokens: 4_096 });
  products.push(product);
  const conversations = makeConversations(PLAN);
  // One of each group alone, then all: at most a few meet a prefix that is still being computed.
  const openings = conversations.slice(0, PLAN.groups).map((opening) => ({ ...opening, questions: opening.questions.slice(0, 1) }));
  const opened = await play(product, openings, { concurrency: 1, maxTokens });
  const played = await play(product, conversations, { concurrency, maxTokens, ...(next === undefined ? {} : { next }) });
  const told = await withDecisions(product, [...opened, ...played]);
  await product.stop();
  expect(told).toHaveLength(REQUESTS + PLAN.groups);
  return told.map((request) => {
    const attempt = request.decision?.attempts.at(-1);
    expect({ end: request.end, malformed: request.malformed, decided: attempt !== undefined }).toEqual({
      end: "done",
      malformed: [],
      decided: true,
    });
    if (attempt === undefined) throw new Error(`no decision is kept for ${request.id}`);
    const context = `${request.id}: attempt ${attempt.attempt} of ${request.decision?.attempts.length} on record, the client was answered by ${request.replica} at attempt ${request.attempts}: ${attempt.decision.reason}`;
    expect(attempt.outcome.cachedTokens, `the pool was told what the client was told, ${context}`).toBe(request.cachedTokens);
    const own = attempt.candidates[attempt.decision.chosen ?? -1];
    const { transfer } = attempt.decision;
    const inPlace = (own?.deviceTokens ?? 0) + (own?.loadedTokens ?? 0);
    const usable =
      transfer === null
        ? inPlace
        : transfer.kind === "pull"
          ? (own?.cachedTokens ?? 0) + transfer.tokens
          : Math.max(inPlace, transfer.senderCachedTokens);
    expect(
      usable,
      `what it holds and would use, what it is to pull from a peer, or what the one holds that prefills for it, ${context}`,
    ).toBe(request.predictedTokens);
    return { ...request, attempt };
  });
}

/** Tokens of one segment at the depth that was predicted; `DEFAULT_SCHEDULE` in bytes, the request's own ratio. */
function segmentTokens({ predictedTokens, promptTokens, attempt }: PlayedRequest): number {
  const bytesPerToken = attempt.request.promptBytes / promptTokens;
  const depthBytes = predictedTokens * bytesPerToken;
  const segmentBytes = depthBytes < 4_096 - 256 ? 256 : depthBytes < 65_536 - 1_024 ? 1_024 : 4_096;
  // Words are no constant number of tokens, and the template's marks stand in between.
  return Math.ceil((segmentBytes / bytesPerToken) * 1.1) + 8;
}

function isTrue(request: PlayedRequest): boolean {
  const lost = request.cachedTokens - request.predictedTokens;
  return lost >= -BLOCK_TOKENS && lost <= segmentTokens(request) + BLOCK_TOKENS;
}

/** When it was decided and when its first token came, pool clock. */
const span = ({ attempt }: PlayedRequest): [number, number] => [attempt.decidedAtMs, attempt.decidedAtMs + (attempt.outcome.ttftMs ?? 0)];

type Cause = "evicted after the decision" | "in flight at the decision" | "other";

function causeOf(miss: PlayedRequest, all: readonly PlayedRequest[]): Cause {
  const [decidedMs, firstMs] = span(miss);
  const beside = all.filter((other) => other !== miss && other.replica === miss.replica);
  if (miss.predictedTokens > miss.cachedTokens) {
    // Someone who came before it and was computed after it was decided, or overtook it, took the place.
    const taker = beside.some((other) => span(other)[0] < firstMs && span(other)[1] > decidedMs);
    return taker ? "evicted after the decision" : "other";
  }
  const sibling = beside.some((other) => other.group === miss.group && span(other)[0] <= decidedMs && span(other)[1] >= decidedMs - 20);
  return sibling ? "in flight at the decision" : "other";
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function truthOf(
  name: string,
  all: readonly PlayedRequest[],
): { share: number; untrue: number; causes: Record<Cause, number>; lostMean: number; lostP99: number } {
  const causes: Record<Cause, number> = { "evicted after the decision": 0, "in flight at the decision": 0, other: 0 };
  for (const miss of all.filter((request) => !isTrue(request))) {
    const cause = causeOf(miss, all);
    causes[cause]++;
    console.log(
      `${name}: miss, ${cause}: ${miss.conversation} turn ${miss.turn} on ${miss.replica}, ` +
        `predicted ${miss.predictedTokens}, cached ${miss.cachedTokens} of ${miss.promptTokens}`,
    );
  }
  const lost = all.filter(isTrue).map((request) => request.cachedTokens - request.predictedTokens);
  const mean = lost.reduce((sum, tokens) => sum + tokens, 0) / lost.length;
  const share = lost.length / all.length;
  console.log(
    `${name}: ${lost.length} of ${all.length} predictions true (${(100 * share).toFixed(1)} %); ` +
      `granularity lost: mean ${mean.toFixed(1)}, p99 ${percentile(lost, 0.99)} tokens; misses: ${JSON.stringify(causes)}`,
  );
  return { share, untrue: all.length - lost.length, causes, lostMean: mean, lostP99: percentile(lost, 0.99) };
}

/** More than the group's system prompt: something of this very conversation lies there. */
function holdsOwnPrefix(cachedTokens: number, { promptTokens, attempt }: PlayedRequest): boolean {
  return cachedTokens * (attempt.request.promptBytes / promptTokens) > PLAN.systemBytes + 256;
}

interface FollowUps {
  /** Those whose conversation is resident somewhere, on a device or in a tier, and how many of them went to the longest overlap. */
  resident: number;
  toLongest: number;
  /** Of these, those whose longest overlap lies on a replica that does nothing else: where it is busy another may be cheaper. */
  residentAtIdle: number;
  toLongestAtIdle: number;
  /** All that left a longer overlap behind, also where only the group's system prompt is resident: each must say why. */
  explained: number;
}

function followUps(name: string, all: readonly PlayedRequest[]): FollowUps {
  const counts: FollowUps = { resident: 0, toLongest: 0, residentAtIdle: 0, toLongestAtIdle: 0, explained: 0 };
  for (const told of all) {
    const { attempt, turn, id } = told;
    const { candidates, decision } = attempt;
    const longest = candidates.toSorted((a, b) => b.cachedTokens - a.cachedTokens || a.plannedCost - b.plannedCost)[0];
    const chosen = candidates[decision.chosen ?? -1];
    if (turn === 0 || longest === undefined || chosen === undefined) continue;
    const stayed = chosen.cachedTokens === longest.cachedTokens;
    if (holdsOwnPrefix(longest.cachedTokens, told)) {
      const isIdle = longest.terms.inFlight === 0;
      counts.resident++;
      if (stayed) counts.toLongest++;
      if (isIdle) counts.residentAtIdle++;
      if (isIdle && stayed) counts.toLongestAtIdle++;
      if (isIdle && !stayed) console.log(`${name}: left an idle replica that holds more: ${decision.reason}`);
    }
    // Barred: the record says so. Else it was dearer, and the sentence says by how much.
    if (stayed || longest.barred !== null) continue;
    expect(chosen.plannedCost, `${id}: ${decision.reason}`).toBeLessThan(longest.plannedCost);
    expect(decision.reason).toMatch(/replica-\d+ holds [\d,]+, but its predicted cost is [\d.,]+ ms higher \(.+\)$/);
    counts.explained++;
  }
  console.log(
    `${name}: ${counts.toLongest} of ${counts.resident} follow-up turns whose conversation is resident went to the longest overlap, ` +
      `${counts.toLongestAtIdle} of ${counts.residentAtIdle} where nothing ran there; ` +
      `${counts.explained} turns left a longer overlap and said by what margin`,
  );
  return counts;
}

const rows: object[] = [];
afterAll(() => {
  if (KEPT) writeResult("truth", { plan: PLAN, replicas: 3, blockTokens: BLOCK_TOKENS }, rows);
});

/**
 * Where nothing runs, nearly all. Where the replica is busy another may be cheaper, the more the slower the machine is, and the turn says by how
 * much (`followUps`): there by far more than the third that chance would take. `percent`: on a quiet machine, of many requests.
 */
function expectLongest({ resident, toLongest, residentAtIdle, toLongestAtIdle }: FollowUps, percent: number): void {
  expect(residentAtIdle).toBeGreaterThan(REQUESTS / 4);
  // A busy machine makes replicas look unequally fast: two turns of twenty have then gone elsewhere, and said by what margin.
  expect(residentAtIdle - toLongestAtIdle).toBeLessThanOrEqual(most(residentAtIdle, KEPT ? 5 : 20));
  expect(toLongest / resident).toBeGreaterThanOrEqual(KEPT ? percent / 100 : 0.66);
}

let roomy: FollowUps | null = null;

function judge(name: string, all: readonly PlayedRequest[]): ReturnType<typeof truthOf> & { followUps: FollowUps } {
  const judged = { ...truthOf(name, all), followUps: followUps(name, all) };
  rows.push({ name, requests: all.length, ...judged });
  return judged;
}

test("nothing is evicted: at most one prediction in a hundred is not true, and follow-up turns go where their prefix is", async () => {
  // A place for every conversation on every replica.
  const all = await playAll({ sequences: PLAN.conversations + PLAN.groups, concurrency: 2, maxTokens: ANSWER_TOKENS });
  const judged = judge("roomy", all);
  expect(judged.causes["evicted after the decision"]).toBe(0);
  expect(judged.untrue).toBeLessThanOrEqual(most(all.length, 1));
  expectLongest(judged.followUps, 95);
  roomy = judged.followUps;
});

// Places for three conversations of eight in strict rotation, three turns at a time for three replicas: on the devices little of a conversation is
// left when its turn comes, its blocks rest in its replica's host tier, and that replica mostly has a queue. A turn that goes elsewhere pulls
// them or finds most of its prefix there: here the reasons are held to account, not the share.
test("KV too small for all, every replica busy: at most three in a hundred are not true, and who goes elsewhere says by what margin", async () => {
  const all = await playAll({ sequences: placesFor(37.5), concurrency: 3, maxTokens: 24 });
  expect(judge("tight", all).untrue).toBeLessThanOrEqual(most(all.length, 3));
});

/** As people do: who spoke lately mostly speaks next. Seeded. */
function lively(seed: number): (waiting: number) => number {
  const draw = seededRandom(seed);
  return (waiting) => (draw() < 0.8 ? Math.max(0, waiting - 1 - Math.floor(draw() * 6)) : Math.floor(draw() * waiting));
}

// Places for half of the conversations, some of which are lively: evictions run, and what is alive is mostly still held.
test("KV too small for all, turns interleaved: those whose conversation is resident go to the longest overlap", async () => {
  const all = await playAll({ sequences: placesFor(50), concurrency: 2, maxTokens: ANSWER_TOKENS, next: lively(11) });
  const { untrue, causes, followUps: counts } = judge("lively", all);
  expect(untrue - causes["evicted after the decision"]).toBeLessThanOrEqual(most(all.length, 1));
  // What others evict meanwhile is no untruth of the index. Of a few requests on a busy machine it is one more or less.
  expect(untrue).toBeLessThanOrEqual(most(all.length, KEPT ? 3 : 6));
  expect(counts.resident).toBeGreaterThan(REQUESTS / 3);
  // Who meets whom differs from run to run: 115 to 119 of 120.
  expectLongest(counts, 90);
  if (!KEPT) return;
  const [resident, toLongest] = [counts.resident + (roomy?.resident ?? 0), counts.toLongest + (roomy?.toLongest ?? 0)];
  expect(toLongest / resident).toBeGreaterThanOrEqual(0.95);
});
