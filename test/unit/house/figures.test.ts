/** docs/figures.md says what the JSON files under test/bench/results say. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const page = readFileSync(join(ROOT, "docs/figures.md"), "utf8");

/** `figure` and `against` of each row of the tables under a heading that have these columns. */
function figuresUnder(title: string): [string, string][] {
  const from = page.indexOf(`\n## ${title}\n`);
  if (from < 0) throw new Error(`docs/figures.md has no section ${title}.`);
  const section = page.slice(from + 1).split("\n## ")[0] ?? "";
  const rows = section.split("\n").map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  return rows
    .filter((cells) => cells.length === 4 && /^`(?:WARMPATH_\w+=\S+ )?npm /.test(cells[3] ?? ""))
    .map(([, figure = "", against = ""]) => [figure, against]);
}

const resultOf = <Row, Parameters = unknown>(name: string) =>
  JSON.parse(readFileSync(join(ROOT, "test/bench/results", `${name}.json`), "utf8")) as { rows: Row[]; parameters: Parameters };

/** The one row for which `is` holds. */
function only<Row>(rows: readonly Row[], is: (row: Row) => boolean): Row {
  const [found, ...more] = rows.filter(is);
  if (found === undefined || more.length > 0) throw new Error(`${more.length + Number(found !== undefined)} rows fit.`);
  return found;
}

const ms = (value: number): string => (value >= 1_000 ? `${(value / 1_000).toFixed(1)} s` : `${value.toFixed(value < 10 ? 1 : 0)} ms`);
const count = (value: number): string => value.toLocaleString("en-US");

test("caching", () => {
  const { rows } = resultOf<{ part: string; source?: string; tiers?: string; pass?: unknown; medianTtftMs?: number; meanTtftMs?: number }>(
    "tiers",
  );
  const from = (source: string): string => ms(only(rows, (row) => row.source === source).medianTtftMs ?? Number.NaN);
  const withTiers = (tiers: string): string => ms(only(rows, (row) => row.tiers === tiers && row.pass === "all").meanTtftMs ?? Number.NaN);
  expect(figuresUnder("Caching, on real engines")).toEqual([
    ...["device", "host", "disk", "store", "peer"].map((source) => [from(source), `${from("cold")} without cache`]),
    ...["host", "host + disk"].map((tiers) => [withTiers(tiers), `${withTiers("off")} without a tier`]),
  ]);
});

test("the second turn, on the page", () => {
  const { rows } = resultOf<{ turn: string; ttftMs: number }>("second-turn");
  const median = (turn: string): string => {
    const times = rows.filter((row) => row.turn === turn).map(({ ttftMs }) => ttftMs);
    return ms(times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN);
  };
  expect(figuresUnder("The second turn, on the page")).toEqual([[median("second"), `${median("cold")} when cold`]]);
});

test("routing", () => {
  interface Policy {
    profile: string;
    pass: unknown;
    meanTtftMs: number;
    p99TtftMs: number;
    cachedShare: number;
    meanTpotMs: number;
    requestsPerSecond: number;
  }
  const policies = resultOf<Policy>("policies").rows.filter(({ pass }) => pass === "all");
  const real = resultOf<{
    profile: string;
    measured: { ttftMeanMs: number; ttftP99Ms: number; tpotMeanMs: number; hitShare: number };
    ratio: { ttftMeanMs: number };
  }>("real").rows;
  const against = <Row extends { profile: string }>(
    rows: readonly Row[],
    others: readonly string[],
    say: (row: Row) => string,
  ): string[] => {
    const of = (profile: string): string => say(only(rows, (row) => row.profile === profile));
    return [of("cache-aware"), others.map((profile) => `${profile.replace("-", " ")} ${of(profile)}`).join(", ")];
  };
  const [blind, all] = [
    ["round-robin", "least-loaded"],
    ["round-robin", "least-loaded", "sticky"],
  ];
  expect(figuresUnder("Routing, on real engines")).toEqual([
    against(policies, blind, ({ meanTtftMs }) => ms(meanTtftMs)),
    against(policies, blind, ({ p99TtftMs }) => ms(p99TtftMs)),
    against(policies, blind, ({ cachedShare }) => cachedShare.toFixed(2)),
    against(policies, blind, ({ meanTpotMs }) => ms(meanTpotMs)),
    against(policies, blind, ({ requestsPerSecond }) => requestsPerSecond.toFixed(1)),
    against(real, all, ({ measured }) => ms(measured.ttftMeanMs)),
    against(real, all, ({ measured }) => ms(measured.ttftP99Ms)),
    against(real, all, ({ measured }) => measured.hitShare.toFixed(2)),
    against(real, all, ({ measured }) => ms(measured.tpotMeanMs)),
    against(real, all, ({ ratio }) => ratio.ttftMeanMs.toFixed(2)),
  ]);
});

test("predictions", () => {
  const truth = resultOf<{ name: string; requests: number; share: number; followUps: { resident: number; toLongest: number } }>(
    "truth",
  ).rows;
  const sum = (of: (row: (typeof truth)[number]) => number): string => String(Math.round(truth.reduce((total, row) => total + of(row), 0)));
  const followUps = (name: string): string[] => {
    const { resident, toLongest } = only(truth, (row) => row.name === name).followUps;
    return [String(toLongest), String(resident)];
  };
  const times = resultOf<{ part: string; p50: number; p90: number }>("predictions").rows;
  const ratio = (part: string): (typeof times)[number] => only(times, (row) => row.part.startsWith(part));
  const both = ({ p50, p90 }: { p50: number; p90: number }): string => `${p50}, ${p90}`;
  expect(figuresUnder("Predictions, on real engines")).toEqual([
    [sum(({ requests, share }) => requests * share), sum(({ requests }) => requests)],
    followUps("roomy"),
    followUps("tight"),
    followUps("lively"),
    [both(ratio("conversations")), "1"],
    [both(ratio("cold start: 12 short chats, then 18")), "1"],
    [String(ratio("after 39408 pings: one of 900 words").p50), "1"],
  ]);
});

test("the edge", () => {
  const edge = JSON.parse(readFileSync(join(ROOT, "test/bench/results/edge.json"), "utf8")) as {
    grid: {
      promptBytes: number;
      mode: string;
      concurrency: number;
      nonAscii: boolean;
      arms: Record<string, { cpuMsPerRequest: number }>;
    }[];
    decide: { runs: Record<string, { meanUs: number; callsPerS: number }> };
    memory: { rssMb: Record<string, number[]> };
  };
  const cpu = (promptBytes: number): string[] => {
    const { arms } = only(
      edge.grid,
      (row) => row.promptBytes === promptBytes && row.mode === "unary" && row.concurrency === 16 && !row.nonAscii,
    );
    const of = (arm: string): string => `${arms[arm]?.cpuMsPerRequest.toFixed(2)} ms`;
    return [of("edge"), `SMG 1.13.0 ${of("smg")}, a bare proxy Worker ${of("passthrough")}`];
  };
  const [one, all] = [edge.decide.runs["held by one"], edge.decide.runs["held by all 64"]];
  const ends = (arm: string): string => `${edge.memory.rssMb[arm]?.at(0)}, ${edge.memory.rssMb[arm]?.at(-1)} MB`;
  expect(figuresUnder("The edge")).toEqual([
    cpu(2_048),
    cpu(65_536),
    cpu(225_280),
    [`${one?.meanUs.toFixed(0)} µs`, ""],
    [`${all?.meanUs.toFixed(0)} µs`, ""],
    [`${count(one?.callsPerS ?? 0)}, ${count(all?.callsPerS ?? 0)}`, ""],
    [ends("edge"), `SMG 1.13.0 ${ends("smg")}`],
  ]);
});

test("prefill and decode apart", () => {
  const { rows } = resultOf<{ topology: string; ratio: number; disturbed: { maxMs: number } }>("pd");
  const of = (topology: string) => rows.filter((row) => row.topology.startsWith(topology));
  const ratios = (topology: string): string =>
    of(topology)
      .map(({ ratio }) => ratio)
      .toSorted((a, b) => a - b)
      .join(", ");
  const most = (topology: string): string => ms(Math.max(...of(topology).map(({ disturbed }) => disturbed.maxMs)));
  expect(figuresUnder("Prefill and decode apart")).toEqual([
    [ratios("disaggregated"), `${ratios("aggregated")} with both roles`],
    [most("disaggregated"), `${most("aggregated")} with both roles`],
  ]);
});

test("under load and attack", () => {
  interface Check {
    what: string;
    value: number;
    limit: number;
  }
  const soak = resultOf<unknown, { outcomes: { done: number; silent: number }; checks: Check[] }>("soak").parameters;
  const memory = only(soak.checks, ({ what }) => what.startsWith("RSS of edge"));
  const door = resultOf<{ requests: number; failed: number }, { checks: Check[] }>("soak-door");
  const p99 = (attack: string): string =>
    only(door.parameters.checks, ({ what }) => what.startsWith("honest p99") && what.endsWith(attack)).value.toFixed(2);
  const total = <Row>(rows: readonly Row[], of: (row: Row) => number): string => count(rows.reduce((sum, row) => sum + of(row), 0));
  interface Off {
    offP50: number;
    offP99: number;
  }
  const long = resultOf<unknown, { predictions: Off; real: { predictions: Off } }>("soak-long").parameters;
  const off = ({ offP50, offP99 }: Off): string[] => [`${offP50}, ${offP99}`, "at most 2, 4"];
  const hostile = resultOf<{ answers: number; wrong: number; failed: number }>("soak-hostile-kv").rows;
  expect(figuresUnder("Under load and attack")).toEqual([
    [`${count(soak.outcomes.done)}, ${soak.outcomes.silent}`, ""],
    [`${memory.value} MiB`, `at most ${Math.floor(memory.limit)}`],
    ...["hostile client", "strangers", "full disk"].map((attack) => [p99(attack), "1 when calm"]),
    [total(door.rows, ({ failed }) => failed), total(door.rows, ({ requests }) => requests)],
    off(long.predictions),
    off(long.real.predictions),
    [
      [total(hostile, ({ answers }) => answers), total(hostile, ({ wrong }) => wrong), total(hostile, ({ failed }) => failed)].join(", "),
      "",
    ],
    [count(resultOf<unknown, { total: number }>("fuzz").parameters.total), ""],
  ]);
});

const PEERS: readonly (readonly [string, string])[] = [
  ["Dynamo linear", "dynamo-linear"],
  ["SMG cache_aware", "smg-cache-aware"],
  ["llm-d", "llm-d"],
  ["LMetric", "lmetric"],
  ["loadaware", "loadaware"],
  ["minimum TTFT", "min-ttft"],
  ["round robin", "round-robin"],
];

test("against the peers' policies, in simulation", () => {
  interface Part {
    geomeans?: { peer: string; ratios: { ttftMeanMs: number; ttftP99Ms: number; tpotMeanMs: number } }[];
    lost?: { ratio: number }[];
    cells?: { workload: string; model: string; load: number; policy: string; metrics: { ttftMeanMs: number } }[];
    rows?: { workload: string; engine: string; policy: string; requestsPerSecond: number }[];
  }
  const parts = resultOf<Part>("decision-cells").rows;
  const geomeans = parts.flatMap((part) => part.geomeans ?? []);
  for (const [shown, peer] of PEERS) {
    const { ratios } = only(geomeans, (row) => row.peer === peer);
    const cells = [shown, ...[ratios.ttftMeanMs, ratios.ttftP99Ms, ratios.tpotMeanMs].map((ratio) => ratio.toFixed(2))];
    expect(page.split("\n").map((line) => line.split("|").map((cell) => cell.trim()))).toContainEqual(["", ...cells, ""]);
  }

  const lost = parts.flatMap((part) => part.lost ?? []).map(({ ratio }) => ratio);
  const report = readFileSync(join(ROOT, "test/bench/results/decision.html"), "utf8");
  const [, lostOfAll = "", all = ""] = /Comparisons lost<\/dt><dd>(\d+) of (\d+)/.exec(report) ?? [];
  const rates = resultOf<Part>("decision-capacity").rows.flatMap((part) => part.rows ?? []);
  const shares = Array.from(Map.groupBy(rates, ({ workload, engine }) => `${workload} ${engine}`).values(), (each) => {
    const best = Math.max(...each.filter(({ policy }) => policy !== "warmpath").map(({ requestsPerSecond }) => requestsPerSecond));
    return only(each, ({ policy }) => policy === "warmpath").requestsPerSecond / best;
  });
  const contended = resultOf<Part>("decision-contended").rows.flatMap((part) => part.cells ?? []);
  const waits = ["llama-8b-h100", "llama-70b-tp4-h100"].map((model) => {
    const times = contended.filter((cell) => cell.model === model);
    const best = Math.min(...times.filter(({ policy }) => policy !== "warmpath").map(({ metrics }) => metrics.ttftMeanMs));
    return (only(times, ({ policy }) => policy === "warmpath").metrics.ttftMeanMs / best).toFixed(2);
  });
  expect(figuresUnder("Against the peers' policies, in simulation")).toEqual([
    [String(lost.length), "90"],
    [lostOfAll, all],
    [Math.max(...lost).toFixed(2), "1 is llm-d"],
    [String(shares.filter((share) => share >= 1).length), String(shares.length)],
    [Math.min(...shares).toFixed(2), "1 is the best peer"],
    [waits.join(", "), "1 is the best peer"],
  ]);
});

test("when things go wrong, in simulation", () => {
  const { rows } = resultOf<{ trouble: string; ratio: number }>("decision-robustness");
  const ratiosOf = (trouble: string): number[] => rows.filter((row) => row.trouble.startsWith(trouble)).map(({ ratio }) => ratio);
  const worst = (trouble: string): string => Math.max(...ratiosOf(trouble)).toFixed(2);
  expect(figuresUnder("When things go wrong, in simulation")).toEqual([
    ...["events 5 s late", "no events", "10 % of events lost", "booking takes 20 ms", "one of 8 replicas goes"].map((trouble) => [
      worst(trouble),
      "1 untroubled",
    ]),
    [worst("three regions"), "1 is one pool"],
    [Math.min(...ratiosOf("twice the load")).toFixed(2), "1"],
  ]);
});
