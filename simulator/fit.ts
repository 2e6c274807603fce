/** Engine constants from a real replica's log: least squares over what each request took, robust to rows that something else held up. */
import type { EngineConstants } from "./constants.ts";
import { pairsOf } from "./step-time.ts";

/** One request as its replica logged it. */
export interface LogRow {
  promptTokens: number;
  cachedTokens: number;
  /** From its start to the first token. */
  prefillMs: number;
  outputTokens: number;
  /** From the first token to the last. */
  decodeMs: number;
  /** Means while it ran: sequences decoding, itself included, and their context tokens together. */
  inFlight: number;
  contextTokens: number;
}

export type StepConstants = Pick<
  EngineConstants,
  "baseMs" | "prefillMsPerToken" | "attentionMsPerPair" | "decodeMsPerSequence" | "decodeMsPerContextToken"
>;

type FitOutcome =
  /** `medianError`: half of the rows' times are within this share of what the constants say. */
  { kind: "fit"; constants: StepConstants; rows: number; medianError: number } | { kind: "too-few"; rows: number; needed: number };

const LEAST_ROWS = 10;
const ROUNDS = 8;
/** An error of a row counts at most this many median errors. */
const CLAMP = 3;
const UNKNOWN = 5;

interface Equation {
  /** Factors of base, B, Q, C, D. */
  factors: number[];
  ms: number;
}

/**
 * Two equations a request: its prefill, of ceil(computed / stepTokens) steps, and its decoding, of one step a token. Errors are relative, none of the
 * constants below 0.
 *
 * @param stepTokens prompt tokens that the engine computes in a step at most.
 */
export function fitConstants(rows: readonly LogRow[], stepTokens: number): FitOutcome {
  const equations = rows.flatMap((row) => equationsOf(row, stepTokens));
  if (equations.length < LEAST_ROWS) return { kind: "too-few", rows: equations.length, needed: LEAST_ROWS };
  let weights = equations.map(() => 1);
  let solution = solve(equations, weights);
  let errors: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    errors = equations.map(({ factors, ms }) => Math.abs(dot(factors, solution) - ms) / ms);
    const bound = CLAMP * Math.max(1e-6, median(errors));
    weights = errors.map((error) => Math.min(1, bound / Math.max(error, 1e-12)));
    solution = solve(equations, weights);
  }
  const [baseMs = 0, prefillMsPerToken = 0, attentionMsPerPair = 0, decodeMsPerSequence = 0, decodeMsPerContextToken = 0] = solution;
  const constants = { baseMs, prefillMsPerToken, attentionMsPerPair, decodeMsPerSequence, decodeMsPerContextToken };
  return { kind: "fit", constants, rows: equations.length, medianError: median(errors) };
}

function equationsOf(row: LogRow, stepTokens: number): Equation[] {
  const { promptTokens, cachedTokens, prefillMs, outputTokens, decodeMs, inFlight, contextTokens } = row;
  const equations: Equation[] = [];
  const computed = promptTokens - cachedTokens;
  if (computed > 0 && prefillMs > 0) {
    const steps = Math.ceil(computed / stepTokens);
    const others = Math.max(0, inFlight - 1);
    const context = inFlight > 0 ? (contextTokens * others) / inFlight : 0;
    equations.push({ factors: [steps, computed, pairsOf(computed, cachedTokens), steps * others, steps * context], ms: prefillMs });
  }
  const gaps = outputTokens - 1;
  if (gaps > 0 && decodeMs > 0) equations.push({ factors: [1, 0, 0, inFlight, contextTokens], ms: decodeMs / gaps });
  return equations;
}

/** Weighted least squares of relative errors; a constant that would fall below 0 is 0 and the others are solved again. */
function solve(equations: readonly Equation[], weights: readonly number[]): number[] {
  const held = new Set<number>();
  for (;;) {
    const free = Array.from({ length: UNKNOWN }, (_, at) => at).filter((at) => !held.has(at));
    const values = normalEquations(equations, weights, free);
    const solution = Array.from({ length: UNKNOWN }, () => 0);
    let worst = -1;
    for (const [index, at] of free.entries()) {
      const value = values[index] ?? 0;
      solution[at] = Math.max(0, value);
      if (value < 0 && (worst === -1 || value < (values[free.indexOf(worst)] ?? 0))) worst = at;
    }
    if (worst === -1) return solution;
    held.add(worst);
  }
}

function normalEquations(equations: readonly Equation[], weights: readonly number[], free: readonly number[]): number[] {
  const size = free.length;
  // Factors differ by many orders of magnitude: each is brought to 1 first.
  const scales = free.map((at) => equations.reduce((most, { factors, ms }) => Math.max(most, (factors[at] ?? 0) / ms), 0) || 1);
  const matrix = Array.from({ length: size }, () => Array.from({ length: size + 1 }, () => 0));
  for (const [index, { factors, ms }] of equations.entries()) {
    const weight = weights[index] ?? 0;
    const row = free.map((at, place) => (factors[at] ?? 0) / ms / (scales[place] ?? 1));
    for (const [left, value] of row.entries()) {
      const target = matrix[left];
      if (target === undefined) continue;
      for (const [right, other] of row.entries()) target[right] = (target[right] ?? 0) + weight * value * other;
      target[size] = (target[size] ?? 0) + weight * value;
    }
  }
  return eliminate(matrix).map((value, place) => value / (scales[place] ?? 1));
}

/** Gaussian elimination with pivots; a coefficient that the rows do not determine is 0. */
function eliminate(matrix: number[][]): number[] {
  const size = matrix.length;
  for (let at = 0; at < size; at++) {
    let pivot = at;
    for (let row = at + 1; row < size; row++) if (Math.abs(matrix[row]?.[at] ?? 0) > Math.abs(matrix[pivot]?.[at] ?? 0)) pivot = row;
    const [top, best] = [matrix[at], matrix[pivot]];
    if (top === undefined || best === undefined) continue;
    [matrix[at], matrix[pivot]] = [best, top];
    const lead = best[at] ?? 0;
    if (Math.abs(lead) < 1e-12) continue;
    for (const [row, values] of matrix.entries()) {
      if (row === at) continue;
      const factor = (values[at] ?? 0) / lead;
      for (let column = at; column <= size; column++) values[column] = (values[column] ?? 0) - factor * (best[column] ?? 0);
    }
  }
  return matrix.map((row, at) => (Math.abs(row[at] ?? 0) < 1e-12 ? 0 : (row[size] ?? 0) / (row[at] ?? 1)));
}

function dot(left: readonly number[], right: readonly number[]): number {
  return left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}
