import { expect, test } from "vitest";
import { DEFAULT_REMOTE_PREFILL_TOKENS, PoolState } from "../../src/router/state.ts";
import { mergedFamilies, type MetricFamily, prometheusText } from "../../src/prometheus.ts";
import { createStorableIndex } from "../../src/residency/typed-array-index.ts";
import { poolMetrics } from "../../src/router/metrics.ts";
import { parsePrometheus } from "../prometheus-text.ts";

test("families with help, type and labelled samples; what has no sample is left out", () => {
  const text = prometheusText([
    {
      name: "warmpath_tier_hits_total",
      type: "counter",
      help: "Blocks read from the tier",
      samples: [
        { labels: { replica: "r1", tier: "host" }, value: 3 },
        { labels: {}, value: 0.5 },
      ],
    },
    { name: "warmpath_nothing", type: "gauge", help: "Nothing", samples: [] },
  ]);
  expect(text).toBe(
    '# HELP warmpath_tier_hits_total Blocks read from the tier\n# TYPE warmpath_tier_hits_total counter\nwarmpath_tier_hits_total{replica="r1",tier="host"} 3\nwarmpath_tier_hits_total 0.5\n',
  );
});

const one = (value: number, labels: Record<string, string> = {}, help = "h"): MetricFamily => ({
  name: "m",
  type: "gauge",
  help,
  samples: [{ labels, value }],
});

test("labels and help are escaped", () => {
  const [help, , line] = prometheusText([one(1, { a: 'b"\\\n' }, "a\\b\nc")]).split("\n");
  expect(help).toBe("# HELP m a\\\\b\\nc");
  expect(line).toBe('m{a="b\\"\\\\\\n"} 1');
  expect(parsePrometheus(prometheusText([one(1, { a: 'b"\\\n' })]))).toEqual([{ name: "m", labels: { a: 'b"\\\n' }, value: 1 }]);
});

test("numbers that are not finite, and very small ones, are read back", () => {
  for (const value of [Infinity, -Infinity, NaN, 1e-9, 1.5e300, -0.25])
    expect(parsePrometheus(prometheusText([one(value)]))[0]?.value).toBe(value);
});

test("the pages of two pools are one page: each family once, a sample a pool", () => {
  const state = () => new PoolState(createStorableIndex({}), DEFAULT_REMOTE_PREFILL_TOKENS);
  const pages = ["east", "west"].map((pool) => poolMetrics(pool, state()));
  const samples = parsePrometheus(prometheusText(mergedFamilies(pages)));
  expect(samples).toHaveLength(2 * (pages[0]?.length ?? 0));
  for (const name of new Set(samples.map((sample) => sample.name)))
    expect(samples.filter((sample) => sample.name === name).map(({ labels }) => labels["pool"])).toEqual(["east", "west"]);
  // As it was before: one page behind the other.
  expect(() => parsePrometheus(pages.map(prometheusText).join(""))).toThrow(/second HELP line|do not stand together/);
});
