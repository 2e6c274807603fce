import { expect, test } from "vitest";
import { prometheusText } from "../../src/prometheus.ts";

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

test("labels are escaped", () => {
  const [, , line] = prometheusText([{ name: "m", type: "gauge", help: "h", samples: [{ labels: { a: 'b"\\\n' }, value: 1 }] }]).split(
    "\n",
  );
  expect(line).toBe('m{a="b\\"\\\\\\n"} 1');
});
