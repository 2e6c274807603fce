/** What a run on real replicas is measured by: as simulator/measures.ts does, over the same share of its requests. */
import { percentile } from "../../../src/explain/percentile.ts";
import { type Measures, WARM_UP_SHARE } from "../../../simulator/measures.ts";
import type { Seen } from "./play.ts";

export interface Figures {
  ttftMeanMs: number;
  ttftP50Ms: number;
  ttftP99Ms: number;
  tpotMeanMs: number;
  /** Of the prompt tokens. */
  hitShare: number;
}

const FIGURES = ["ttftMeanMs", "ttftP50Ms", "ttftP99Ms", "tpotMeanMs", "hitShare"] as const satisfies readonly (keyof Figures)[];

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Without the first requests to come, while the caches fill, and those that failed. */
export function figuresOf(seen: readonly Seen[]): Figures {
  const inOrder = seen.toSorted((left, right) => left.startedAtMs - right.startedAtMs);
  const good = inOrder.slice(Math.floor(inOrder.length * WARM_UP_SHARE)).filter(({ failed }) => !failed);
  const ttfts = Float64Array.from(good, ({ startedAtMs, firstAtMs }) => firstAtMs - startedAtMs).sort();
  const gaps = sum(good.map(({ outputTokens }) => Math.max(0, outputTokens - 1)));
  return {
    ttftMeanMs: sum([...ttfts]) / Math.max(1, ttfts.length),
    ttftP50Ms: percentile(ttfts, 0.5),
    ttftP99Ms: percentile(ttfts, 0.99),
    tpotMeanMs:
      sum(good.map(({ firstAtMs, endedAtMs, outputTokens }) => (outputTokens > 1 ? endedAtMs - firstAtMs : 0))) / Math.max(1, gaps),
    hitShare: sum(good.map(({ cachedTokens }) => cachedTokens)) / Math.max(1, sum(good.map(({ promptTokens }) => promptTokens))),
  };
}

function combined(figure: (name: keyof Figures) => number): Figures {
  return Object.fromEntries(FIGURES.map((name) => [name, Number(figure(name).toPrecision(4))])) as unknown as Figures;
}

export function rounded(figures: Figures | Measures): Figures {
  return combined((name) => figures[name]);
}

export function meanOf(all: readonly Figures[]): Figures {
  return combined((name) => sum(all.map((figures) => figures[name])) / Math.max(1, all.length));
}

/** 1: as it was. */
export function ratioOf(predicted: Figures, measured: Figures): Figures {
  return combined((name) => (measured[name] > 0 ? predicted[name] / measured[name] : 1));
}
