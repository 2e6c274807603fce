/** Plays histories until so many events of the core have been fuzzed. */
import { codeOf, type History } from "./history.ts";
import { historyOf, THEMES, themeOf } from "./generate.ts";
import { INVARIANTS, played } from "./play.ts";
import { shrunk } from "./shrink.ts";
import type { Invariant, Violation } from "./watch.ts";

export interface Account {
  theme: string;
  histories: number;
  events: number;
  ms: number;
}

export interface Found extends Violation {
  seed: number;
  theme: string;
  /** Events of all histories up to here. */
  afterEvents: number;
}

export interface Fuzzed {
  accounts: Account[];
  found: Found[];
  histories: number;
  events: number;
}

export interface FuzzOptions {
  events: number;
  seed: number;
  invariants?: readonly Invariant[];
  /** Only histories of this theme. */
  theme?: string | undefined;
  /** Ends with so many histories that failed. */
  mostFound?: number;
  /** A history goes on after its first violation, and tells all. */
  goesOn?: boolean;
}

/** One of each theme first, then as chance has them. */
export function fuzz({ events, seed, invariants = INVARIANTS, theme: only, mostFound = Infinity, goesOn = false }: FuzzOptions): Fuzzed {
  const themes = Object.keys(THEMES);
  const accounts = new Map(themes.map((theme) => [theme, { theme, histories: 0, events: 0, ms: 0 }]));
  const fuzzed: Fuzzed = { accounts: [], found: [], histories: 0, events: 0 };
  let failed = 0;
  for (let number = 0; fuzzed.events < events && failed < mostFound; number++) {
    const theme = only ?? themes[number] ?? themeOf(seed + number);
    const startedAt = performance.now();
    const result = played(historyOf(seed + number, theme), invariants, goesOn ? "end" : undefined);
    const account = accounts.get(theme);
    if (account === undefined) throw new RangeError(`no theme ${theme}`);
    for (const violation of result.violations)
      fuzzed.found.push({ ...violation, seed: seed + number, theme, afterEvents: fuzzed.events + violation.events });
    if (result.violations.length > 0) failed++;
    fuzzed.histories++;
    fuzzed.events += result.events;
    account.histories++;
    account.events += result.events;
    account.ms += performance.now() - startedAt;
  }
  fuzzed.accounts = [...accounts.values()].filter(({ histories }) => histories > 0);
  return fuzzed;
}

/** As short as it can be made, as code. */
export function shortCode({ seed, theme, invariant, step }: Found): string {
  const history = historyOf(seed, theme);
  const invariants = INVARIANTS.filter(({ name }) => name === invariant);
  const fails = (shorter: History): boolean =>
    played(shorter, invariants).violations.some((violation) => violation.invariant === invariant);
  const upTo = { ...history, steps: history.steps.slice(0, step + 1) };
  return codeOf(shrunk(fails(upTo) ? upTo : history, fails));
}

export function text(found: Found, code: string): string {
  const { seed, theme, invariant, message } = found;
  const says = INVARIANTS.find(({ name }) => name === invariant)?.says ?? "";
  return `${invariant}: ${message}\n(${says}; theme ${theme}, seed ${seed})\n${code}`;
}
