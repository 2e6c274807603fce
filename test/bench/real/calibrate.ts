/**
 * The simulator's constants for the embedded engine on this machine, from what the pool and the clients saw of other requests than those predicted.
 *
 * All replicas share the machine's cores, so a step takes longer while others compute: `busy` replicas want `busy * coresEach` cores, and where the machine
 * has fewer, all are slowed alike (processor sharing). Times are divided by that before `fitConstants` sees them, and the simulated fleet multiplies
 * its steps by it again (fleet.ts). `coresEach` is above 1: an engine's one thread, and what the edge, the replica's server and the client do for it.
 */
import type { EngineConstants } from "../../../simulator/constants.ts";
import { fitConstants, type LogRow, type StepConstants } from "../../../simulator/fit.ts";
import { pairsOf } from "../../../simulator/step-time.ts";
import type { Seen } from "./play.ts";

export interface Calibration {
  engine: EngineConstants;
  coresEach: number;
  /** What the edge takes: the client's time to the first token less the pool's. */
  bookingMs: number;
  /** What no step explains: to the replica, template and tokenizer, to its engine and back. */
  rttMs: number;
  /** Equations of the fit, and the median of their relative errors. */
  rows: number;
  medianError: number;
  /** Of all times together, the share by which they are off. */
  error: number;
  pulls: number;
}

export interface Hardware {
  cores: number;
  sequences: number;
  blockTokens: number;
  stepTokens: number;
}

/** Tried together; those that leave the least error count, in ms of all rows together: long ones make the mean. */
const CORES_EACH = Array.from({ length: 11 }, (_, at) => 1 + at / 10);
const RTT_MS = Array.from({ length: 13 }, (_, at) => at);

export function slowdown(busy: number, coresEach: number, cores: number): number {
  return Math.max(1, (busy * coresEach) / cores);
}

export function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

/** A span of a request's life, ms. */
interface Span {
  replica: string;
  id: number;
  fromMs: number;
  toMs: number;
}

function overlapMs(span: Span, other: Span): number {
  return Math.max(0, Math.min(span.toMs, other.toMs) - Math.max(span.fromMs, other.fromMs));
}

/** Mean number of replicas with a request during the span; its own is one of them. */
function busyDuring(span: Span, lives: readonly Span[]): number {
  const length = span.toMs - span.fromMs;
  const others = new Map<string, Span[]>();
  for (const life of lives) {
    if (life.replica === span.replica || overlapMs(span, life) === 0) continue;
    others.set(life.replica, [...(others.get(life.replica) ?? []), life]);
  }
  let busyMs = length;
  for (const spans of others.values()) {
    let coveredMs = span.fromMs;
    for (const { fromMs, toMs } of spans.toSorted((left, right) => left.fromMs - right.fromMs)) {
      const from = Math.max(coveredMs, fromMs);
      const to = Math.min(span.toMs, toMs);
      if (to <= from) continue;
      busyMs += to - from;
      coveredMs = to;
    }
  }
  return length > 0 ? busyMs / length : 1;
}

/** One request's times, those that another prefill on its replica held up left out (0), and how many replicas were busy in each. */
interface Observed {
  row: LogRow;
  /** By a pull: its tokens, and the time to the first token. */
  pulled: { tokens: number; ttftMs: number } | null;
  busyInPrefill: number;
  busyInDecode: number;
}

/** A span counts as held up when another's prefill on its replica takes more than this share of it. */
const HELD_UP = 0.1;

/** Fewer tokens, or tokens that come so much faster than usual, reached the client in a burst: their times say nothing of the engine. */
const LEAST_GAPS = 5;
const BURST_SHARE = 0.4;

function gapMs({ firstAtMs, endedAtMs, outputTokens }: Seen): number {
  return outputTokens > LEAST_GAPS ? (endedAtMs - firstAtMs) / (outputTokens - 1) : 0;
}

function observe(seen: readonly Seen[]): Observed[] {
  const good = seen.filter(({ failed, attempt }) => !failed && attempt !== null);
  const spanOf = (fromMs: number, toMs: number, { id, replica }: Seen): Span => ({ id, replica, fromMs, toMs });
  const lives = good.map((one) => spanOf(one.startedAtMs, one.endedAtMs, one));
  const prefills = good.map((one) => spanOf(one.startedAtMs, one.firstAtMs, one));
  const decodes = good.map((one) => spanOf(one.firstAtMs, one.endedAtMs, one));
  const usualMs = median(good.map(gapMs).filter((ms) => ms > 0));
  const beside = (span: Span, among: readonly Span[]): Span[] =>
    among.filter((other) => other.id !== span.id && other.replica === span.replica && overlapMs(span, other) > 0);
  return good.flatMap((one, at): Observed[] => {
    const [prefill, decode] = [prefills[at], decodes[at]];
    if (prefill === undefined || decode === undefined || one.attempt === null) return [];
    const heldUp = (span: Span): boolean =>
      beside(span, prefills).some((other) => overlapMs(span, other) > HELD_UP * (span.toMs - span.fromMs));
    const transferred = one.attempt.decision.transfer !== null;
    const decodeMs = decode.toMs - decode.fromMs;
    const others = beside(decode, decodes);
    const weight = (other: Span): number => (decodeMs > 0 ? overlapMs(decode, other) / decodeMs : 0);
    const contextOf = ({ promptTokens, outputTokens }: Seen): number => promptTokens + outputTokens / 2;
    const byId = (id: number): number => contextOf(seen[id] ?? one);
    const { promptTokens, cachedTokens, outputTokens } = one;
    const row: LogRow = {
      promptTokens,
      cachedTokens,
      prefillMs: transferred || heldUp(prefill) ? 0 : (one.attempt.outcome.ttftMs ?? 0),
      outputTokens,
      decodeMs: heldUp(decode) || gapMs(one) < BURST_SHARE * usualMs ? 0 : decodeMs,
      inFlight: 1 + others.reduce((sum, other) => sum + weight(other), 0),
      contextTokens: contextOf(one) + others.reduce((sum, other) => sum + weight(other) * byId(other.id), 0),
    };
    const { ttftMs, transfer } = one.attempt.outcome;
    const pulled =
      ttftMs === null || transfer === null || transfer.tokens === 0 || heldUp(prefill) ? null : { tokens: transfer.tokens, ttftMs };
    return [{ row, pulled, busyInPrefill: busyDuring(prefill, lives), busyInDecode: busyDuring(decode, lives) }];
  });
}

interface Fitted {
  constants: StepConstants;
  coresEach: number;
  rttMs: number;
  rows: number;
  medianError: number;
  /** Of all times together, the share by which they are off. */
  error: number;
}

/** Errors are relative: a row of which next to nothing is left would weigh more than all others. */
const LEAST_LEFT = 1.5;

function fitAt(observed: readonly Observed[], coresEach: number, rttMs: number, { cores, stepTokens }: Hardware): Fitted[] {
  const slowed = observed.map(({ row, busyInPrefill, busyInDecode }) => ({
    row,
    inPrefill: slowdown(busyInPrefill, coresEach, cores),
    inDecode: slowdown(busyInDecode, coresEach, cores),
  }));
  const alone = slowed.map(({ row, inPrefill, inDecode }) => ({
    ...row,
    prefillMs: row.prefillMs / inPrefill > rttMs * LEAST_LEFT ? row.prefillMs / inPrefill - rttMs : 0,
    decodeMs: row.decodeMs / inDecode,
  }));
  const outcome = fitConstants(alone, stepTokens);
  if (outcome.kind === "too-few") return [];
  const { constants, rows, medianError } = outcome;
  let [off, all] = [0, 0];
  for (const { row, inPrefill, inDecode } of slowed) {
    const { prefillMs, decodeMs } = row;
    if (prefillMs > 0) off += Math.abs(prefillMs - inPrefill * (rttMs + prefillMsOf(row, constants, stepTokens)));
    if (decodeMs > 0) off += Math.abs(decodeMs - inDecode * decodeMsOf(row, constants));
    all += prefillMs + decodeMs;
  }
  return [{ constants, coresEach, rttMs, rows, medianError, error: off / all }];
}

/** What a pull adds to the time to the first token: asking, sending, and putting the blocks in place. */
function pullMsPerToken({ row, pulled, busyInPrefill }: Observed, { constants, coresEach, rttMs }: Fitted, hardware: Hardware): number[] {
  if (pulled === null) return [];
  const aloneMs = pulled.ttftMs / slowdown(busyInPrefill, coresEach, hardware.cores);
  return [Math.max(0, aloneMs - rttMs - prefillMsOf(row, constants, hardware.stepTokens)) / pulled.tokens];
}

function prefillMsOf({ promptTokens, cachedTokens }: LogRow, constants: StepConstants, stepTokens: number): number {
  const computed = promptTokens - cachedTokens;
  const { baseMs, prefillMsPerToken, attentionMsPerPair } = constants;
  return Math.ceil(computed / stepTokens) * baseMs + computed * prefillMsPerToken + pairsOf(computed, cachedTokens) * attentionMsPerPair;
}

function decodeMsOf({ outputTokens, inFlight, contextTokens }: LogRow, constants: StepConstants): number {
  const { baseMs, decodeMsPerSequence, decodeMsPerContextToken } = constants;
  return Math.max(0, outputTokens - 1) * (baseMs + inFlight * decodeMsPerSequence + contextTokens * decodeMsPerContextToken);
}

/** Throws when there are too few rows. */
export function calibrate(runs: readonly (readonly Seen[])[], roomTokens: number, hardware: Hardware): Calibration {
  const observed = runs.flatMap(observe);
  const tried = CORES_EACH.flatMap((coresEach) => RTT_MS.flatMap((rttMs) => fitAt(observed, coresEach, rttMs, hardware)));
  const [first, ...others] = tried;
  if (first === undefined) throw new RangeError("too few rows to fit the engine's constants");
  const best = others.reduce((least, next) => (next.error < least.error ? next : least), first);
  const all = runs.flat().filter(({ failed }) => !failed);
  const pulls = observed.flatMap((one) => pullMsPerToken(one, best, hardware));
  const { sequences, blockTokens, stepTokens } = hardware;
  return {
    engine: {
      name: "embedded",
      ...best.constants,
      kvTokens: Math.round(roomTokens / blockTokens) * blockTokens,
      blockTokens,
      maxSequences: sequences,
      stepTokens,
      // No lower tier.
      loadMsPerToken: 1_000,
      transferMsPerToken: median(pulls),
      transferFixedMs: 0,
    },
    coresEach: best.coresEach,
    bookingMs: median(
      all.flatMap(({ startedAtMs, firstAtMs, attempt }) =>
        attempt?.outcome.ttftMs == null ? [] : [firstAtMs - startedAtMs - attempt.outcome.ttftMs],
      ),
    ),
    rttMs: best.rttMs,
    rows: best.rows,
    medianError: best.medianError,
    pulls: pulls.length,
    error: best.error,
  };
}
