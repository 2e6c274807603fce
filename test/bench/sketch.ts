/**
 * What to tell the edges of a pool's prefixes in 64 KiB: filters compared by bits, false positives, and above all by what a chooser among eight pools
 * loses by them. Writes test/bench/results/sketch.json. `node test/bench/sketch.ts`
 */
import { buildSketch, MAX_SKETCH_BYTES } from "../../src/residency/sketch.ts";
import { writeResult } from "./result.ts";
import { FILTERS, type Filter, type FilterKind } from "./sketch/filters.ts";

const POOLS = 8;
const ASKED = 4_000;
const PREAMBLES = 24;
const SIZES = [10_000, 100_000, 1_000_000];
/** Share of a pool's prefixes that is new since a sketch was built, for what a stale one costs. */
const NEW_SHARE = 0.01;

interface Row {
  segments: number;
  filter: string;
  /** One segment in 2^level is in the sample. */
  level: number;
  sampled: number;
  kib: number;
  bitsPerSampled: number;
  bitsPerHeld: number;
  falsePositives: number;
  /** Mean of |estimate - truth| over all (prompt, pool), tokens. */
  errorTokens: number;
  /** Mean overlap of the best pool less that of the pool with the highest estimate, tokens. */
  regretTokens: number;
  regretP99Tokens: number;
  buildMs: number;
  lookupNsPerSegment: number;
  /** 64-byte lines that differ after 1 % of the prefixes were replaced: what a delta would carry, KiB. */
  deltaKib: number;
}

/** Mulberry32, 32 bits at a time. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) | 0;
  };
}

const word = dice(6);
const unit = (): number => (word() >>> 0) / 2 ** 32;

interface Halves {
  hi: number[];
  lo: number[];
}

const fresh = (count: number): Halves => ({ hi: Array.from({ length: count }, word), lo: Array.from({ length: count }, word) });

/** Of a segment by its depth: the default schedule at 4 bytes a token. */
const tokensOf = (depth: number): number => (depth < 16 ? 64 : depth < 76 ? 256 : 1_024);
const POSITIONS = Array.from({ length: 400 }).reduce<number[]>((ends, _, depth) => [...ends, (ends.at(-1) ?? 0) + tokensOf(depth)], [0]);
const tokensAt = (segments: number): number => POSITIONS[segments] ?? 0;

interface Pool {
  hi: Int32Array;
  lo: Int32Array;
  /** Conversations held whole. */
  tails: { preamble: number; tail: Halves }[];
}

const preambles = Array.from({ length: PREAMBLES }, () => fresh(4 + Math.floor(unit() * 36)));

function poolOf(segments: number): Pool {
  const hi: number[] = preambles.flatMap((preamble) => preamble.hi);
  const lo: number[] = preambles.flatMap((preamble) => preamble.lo);
  const tails: Pool["tails"] = [];
  while (lo.length < segments) {
    const tail = fresh(4 + Math.floor(-Math.log(1 - unit()) * 24) + 1);
    tails.push({ preamble: Math.floor(unit() * PREAMBLES), tail });
    hi.push(...tail.hi);
    lo.push(...tail.lo);
  }
  return { hi: Int32Array.from(hi), lo: Int32Array.from(lo), tails };
}

interface Asked extends Halves {
  /** By pool, segments really held. */
  truth: number[];
}

/** Half go on with a conversation that one pool holds, half share a preamble only, which all hold. */
function askedOf(pools: readonly Pool[]): Asked[] {
  return Array.from({ length: ASKED }, (_, number) => {
    const home = Math.floor(unit() * POOLS);
    const conversation = pools[home]?.tails[Math.floor(unit() * (pools[home]?.tails.length ?? 1))];
    const preamble = preambles[conversation?.preamble ?? 0] ?? fresh(4);
    const goesOn = number % 2 === 0 && conversation !== undefined;
    const own = goesOn ? conversation.tail : { hi: [], lo: [] };
    const more = fresh(1 + Math.floor(unit() * 8));
    const hi = [...preamble.hi, ...own.hi, ...more.hi].slice(0, 390);
    const lo = [...preamble.lo, ...own.lo, ...more.lo].slice(0, 390);
    const truth = pools.map((_pool, index) => Math.min(hi.length, preamble.hi.length + (goesOn && index === home ? own.hi.length : 0)));
    return { hi, lo, truth };
  });
}

const rankOf = (hi: number, lo: number): number => Math.clz32(Math.imul(hi ^ (lo >>> 15) ^ lo, 0x9e3779b1));

function sample({ hi, lo }: Pick<Pool, "hi" | "lo">, level: number): { hi: Int32Array; lo: Int32Array } {
  const kept = Array.from(lo.keys()).filter((index) => rankOf(hi[index] ?? 0, lo[index] ?? 0) >= level);
  return { hi: Int32Array.from(kept, (index) => hi[index] ?? 0), lo: Int32Array.from(kept, (index) => lo[index] ?? 0) };
}

function levelFor(kind: FilterKind, pool: Pool): number {
  let level = 0;
  while (sample(pool, level).lo.length * kind.leastBits > MAX_SKETCH_BYTES * 8) level++;
  return level;
}

function heldBy(filter: Filter, level: number, { hi, lo }: Halves): number {
  let held = 0;
  for (let depth = 0; depth < lo.length; depth++) {
    const [high, low] = [hi[depth] ?? 0, lo[depth] ?? 0];
    if (rankOf(high, low) < level) continue;
    if (!filter.has(high, low)) return held;
    held = depth + 1;
  }
  return held;
}

function falsePositives(filter: Filter): { share: number; lookupNs: number } {
  const strangers = fresh(200_000);
  const startedMs = performance.now();
  let affirmed = 0;
  for (let index = 0; index < strangers.lo.length; index++) if (filter.has(strangers.hi[index] ?? 0, strangers.lo[index] ?? 0)) affirmed++;
  const lookupNs = ((performance.now() - startedMs) * 1e6) / strangers.lo.length;
  return { share: affirmed / strangers.lo.length, lookupNs };
}

function quality(
  filters: readonly Filter[],
  level: number,
  asked: readonly Asked[],
): Pick<Row, "errorTokens" | "regretTokens" | "regretP99Tokens"> {
  let error = 0;
  const regrets: number[] = [];
  for (const prompt of asked) {
    const estimates = filters.map((filter) => tokensAt(heldBy(filter, level, prompt)));
    const truths = prompt.truth.map(tokensAt);
    for (const [pool, truth] of truths.entries()) error += Math.abs((estimates[pool] ?? 0) - truth) / POOLS;
    const most = Math.max(...estimates);
    const first = Math.floor(unit() * POOLS);
    const chosen = Array.from({ length: POOLS }, (_, turn) => (first + turn) % POOLS).find((pool) => estimates[pool] === most) ?? 0;
    regrets.push(Math.max(...truths) - (truths[chosen] ?? 0));
  }
  regrets.sort((a, b) => a - b);
  return {
    errorTokens: Math.round(error / asked.length),
    regretTokens: Math.round(regrets.reduce((sum, tokens) => sum + tokens, 0) / regrets.length),
    regretP99Tokens: regrets[Math.floor(regrets.length * 0.99)] ?? 0,
  };
}

function timed<T>(work: () => T): { value: T; ms: number } {
  const value = work();
  const times = Array.from({ length: 3 }, () => {
    const startedMs = performance.now();
    work();
    return performance.now() - startedMs;
  });
  return { value, ms: Math.min(...times) };
}

/** With k probes a prefix changes about k lines, whatever the filter. */
function deltaKib(bits: number, changed: number, probes: number): number {
  const lines = bits / 512;
  return (lines * (1 - (1 - 1 / lines) ** (changed * probes)) * 64) / 1_024;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
const rows: Row[] = [];
for (const segments of SIZES) {
  const pools = Array.from({ length: POOLS }, () => poolOf(segments));
  const asked = askedOf(pools);
  const [first] = pools;
  if (first === undefined) throw new Error("no pools");
  for (const kind of FILTERS) {
    const level = levelFor(kind, first);
    const samples = pools.map((pool) => sample(pool, level));
    const [own = { hi: new Int32Array(), lo: new Int32Array() }] = samples;
    const { value: filter, ms } = timed(() => kind.build(own.hi, own.lo, MAX_SKETCH_BYTES * 8));
    const filters = [filter, ...samples.slice(1).map(({ hi, lo }) => kind.build(hi, lo, MAX_SKETCH_BYTES * 8))];
    const { share, lookupNs } = falsePositives(filter);
    const probes = kind.name.startsWith("Bloom") ? Math.min(8, Math.max(1, Math.round((filter.bits / own.lo.length) * Math.LN2))) : 1;
    rows.push({
      segments,
      filter: kind.name,
      level,
      sampled: own.lo.length,
      kib: round(filter.bits / 8_192, 1),
      bitsPerSampled: round(filter.bits / own.lo.length, 1),
      bitsPerHeld: round(filter.bits / segments, 2),
      falsePositives: round(share, 4),
      ...quality(filters, level, asked),
      buildMs: round(ms, 1),
      lookupNsPerSegment: round(lookupNs, 0),
      deltaKib: round(deltaKib(filter.bits, own.lo.length * NEW_SHARE * 2, probes), 1),
    });
  }
  const whole = timed(() =>
    buildSketch({
      scanHashes(visit) {
        for (let index = 0; index < first.lo.length; index++) visit(first.hi[index] ?? 0, first.lo[index] ?? 0);
      },
    }),
  );
  process.stdout.write(`buildSketch of ${segments}: ${whole.ms.toFixed(1)} ms, ${whole.value.byteLength} bytes\n`);
}
console.table(rows);
process.stdout.write(
  `${writeResult("sketch", { pools: POOLS, asked: ASKED, preambles: PREAMBLES, newShare: NEW_SHARE, mostBytes: MAX_SKETCH_BYTES }, rows)}\n`,
);
