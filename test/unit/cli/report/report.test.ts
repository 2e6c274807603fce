import { describe, expect, it } from "vitest";
import { type Report, writeReport } from "../../../../cli/report/report.ts";
import { cellsLost, geomeansAgainstPeers, ratiosToBestPeer } from "../../../../simulator/comparison.ts";
import { row } from "../../simulator/cells.ts";

const CELLS = [0.5, 0.7, 0.9].flatMap((load) =>
  ["agent", "bursts"].flatMap((workload) => [
    row("warmpath", { ttftMeanMs: 111 }, { load, workload }),
    row("llm-d", { ttftMeanMs: 100 }, { load, workload }),
    row("dynamo-linear", { ttftMeanMs: 1_234, hitShare: 0.123 }, { load, workload }),
  ]),
);

const FULL: Report = {
  title: "Policies compared",
  commit: "abc1234",
  date: "2026-11-26",
  parameters: { replicas: 8, seeds: "11, 12" },
  cells: CELLS,
  geomeans: geomeansAgainstPeers(CELLS, "warmpath").map((each) => ({ ...each, aims: { ttftMeanMs: 0.9 } })),
  lost: cellsLost(ratiosToBestPeer(CELLS, "warmpath")),
  robustness: [
    { name: "events 5 s late", ratio: 1.01, limit: 1.05, met: true },
    { name: "booking takes 20 ms more", ratio: 61, limit: 50, met: false, unit: "ms" },
  ],
  capacities: [
    { workload: "agent", policy: "warmpath", requestsPerSecond: 8.43 },
    { workload: "agent", policy: "llm-d", requestsPerSecond: 7.1 },
  ],
  timelines: [
    {
      title: "A burst",
      unit: "requests waiting",
      series: [{ policy: "warmpath", points: Array.from({ length: 9_000 }, (_, n) => ({ atMs: n, value: n % 7 })) }],
    },
  ],
};

const NOTHING: Report = { title: "Nothing yet", commit: "abc1234", date: "2026-11-26", parameters: {}, cells: [] };

/** Tags in order, without those that have no end. */
function unbalanced(html: string): string[] {
  const open: string[] = [];
  for (const [, close, name, rest] of html.replace(/<style>[^]*?<\/style>/, "").matchAll(/<(\/?)([a-z][a-z0-9]*)([^>]*)>/g)) {
    if (name === undefined || ["meta", "link", "br"].includes(name) || rest?.endsWith("/") === true) continue;
    if (close === "") open.push(name);
    else if (open.pop() !== name) return [`</${name}>`];
  }
  return open;
}

describe("the report", () => {
  const html = writeReport(FULL);

  it("is one file: no scripts, nothing fetched", () => {
    expect(html.startsWith("<!doctype html>")).toBe(true);
    expect(html).not.toMatch(/<script|javascript:|\son[a-z]+=|https?:|url\(|@import|<link|<img|<iframe/);
    expect(unbalanced(html)).toEqual([]);
  });

  it("is the same for the same report", () => {
    expect(writeReport(structuredClone(FULL))).toBe(html);
  });

  it("says what it is of", () => {
    for (const text of ["Policies compared", "abc1234", "2026-11-26", "replicas", "11, 12"]) expect(html).toContain(text);
  });

  it("says what its words and signs mean, with ▲'s limits, and each parameter's unit", () => {
    const terms = [...html.matchAll(/<dt>([^<]+)<\/dt><dd>([^<]+)<\/dd>/g)].map(([, term = "", meaning = ""]) => [term, meaning] as const);
    const meanings = new Map(terms);
    for (const term of ["TTFT", "TPOT", "E2E", "Load", "SLO", "Cell", "Cached", "▲"]) expect(meanings.get(term)).toMatch(/\w+ \w+/);
    expect(meanings.get("▲")).toContain("1.05× for the mean TTFT, 1.15× for its p99, 1.05× for TPOT");
    expect(meanings.get("SLO")).toContain("2 s");
    const said = writeReport({ ...NOTHING, parameters: { hostTokens: 5, eventDelayMs: 6, constants: 2, other: 7 } });
    expect(said).toContain("<dt>hostTokens</dt><dd>5 <small>KV tokens in the host memory of each replica</small></dd>");
    expect(said).toMatch(/<dd>6 <small>ms /);
    expect(said).toMatch(/<dd>2 <small>times /);
    expect(said).toContain("<dt>other</dt><dd>7</dd>");
  });

  it("has every parameter of simulate and of the benchmark with a unit", () => {
    const simulated = ["replicas", "seed", "topology", "hostTokens", "edges", "eventDelayMs", "eventLoss", "constants"];
    const benched = ["replicas", "requests", "seed", "traceSkips", "loads"];
    const said = writeReport({ ...NOTHING, parameters: Object.fromEntries([...simulated, ...benched].map((name) => [name, 1])) });
    expect(said.match(/<dd>1 <small>[^<]+<\/small><\/dd>/g)).toHaveLength(new Set([...simulated, ...benched]).size);
  });

  it("has numbers in tables, for every row, with units", () => {
    const rows = html.match(/<tr[^>]*><th scope="row">dynamo-linear<\/th>.*?<\/tr>/g) ?? [];
    expect(rows.filter((text) => text.includes("<td>1.23 s</td>") && text.includes("<td>12.3 %</td>"))).toHaveLength(6);
    expect(html).toContain('<tr class="ours"><th scope="row">warmpath</th><td>111 ms</td>');
  });

  it("lists every cell lost", () => {
    // 111 / 100 in six cells; p99 and TPOT are equal.
    expect(FULL.lost).toHaveLength(6);
    expect(html.match(/<td>1\.110×<\/td><td>1\.05×<\/td><td>111 ms<\/td><td>100 ms<\/td><td>llm-d<\/td>/g)).toHaveLength(6);
    expect(html.match(/▲ 1\.110× <small>llm-d<\/small>/g)).toHaveLength(6);
    expect(html).toContain("<dd>6 of 18</dd>");
  });

  it("says of each limit whether it is met, not by colour alone", () => {
    expect(html).toContain("✓ met");
    expect(html).toMatch(/61\.0 ms<\/td><td>50\.0 ms<\/td><td><span class="missed">✗ missed/);
    expect(html).toContain('1.11× <span class="missed">✗</span> <small>aim 0.90×</small>');
  });

  it("names and describes every picture, with ids of its own", () => {
    const pictures = html.match(/<svg [^>]*>/g) ?? [];
    // Three a workload, a hit plot a workload, one capacity, one timeline.
    expect(pictures).toHaveLength(2 * 3 + 2 + 1 + 1);
    for (const picture of pictures) expect(picture).toMatch(/role="img" aria-labelledby="\S+-title \S+-desc"/);
    const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(html).toContain("At load 0.5: warmpath 111 ms; lowest peer llm-d 100 ms; highest dynamo-linear 1.23 s.");
  });

  it("keeps a long timeline short", () => {
    const points = html.match(/<polyline points="[^"]+"/g)?.map((text) => text.split(" ").length) ?? [];
    expect(Math.max(...points)).toBeLessThanOrEqual(502);
  });

  it("draws the engine as published where it was run, and tabulates the rest", () => {
    const both = writeReport({ ...NOTHING, cells: [row("warmpath", {}), row("warmpath", { ttftMeanMs: 777 }, { constants: 2 })] });
    expect(both.match(/<svg /g)).toHaveLength(4);
    expect(both).toContain("777 ms");
    expect(both).toContain("constants × 2");
  });

  it("leaves out what there is nothing to say of", () => {
    const empty = writeReport(NOTHING);
    expect(unbalanced(empty)).toEqual([]);
    expect(empty).not.toContain("<section");
    expect(writeReport({ ...NOTHING, lost: [] })).toContain("<p>None.</p>");
  });

  it("takes names for text", () => {
    const nasty = '<script>alert("&")</script>';
    const said = writeReport({
      ...NOTHING,
      title: nasty,
      commit: nasty,
      parameters: { [nasty]: nasty },
      cells: [row(nasty, {}, { workload: nasty, model: nasty }), row("warmpath", {}, { workload: nasty, model: nasty })],
      capacities: [{ workload: nasty, policy: nasty, requestsPerSecond: 1 }],
      robustness: [{ name: nasty, ratio: 1, limit: 1, met: true }],
      timelines: [{ title: nasty, unit: nasty, series: [{ policy: nasty, points: [{ atMs: 1, value: 1 }] }] }],
    });
    expect(said).not.toContain("<script");
    expect(unbalanced(said)).toEqual([]);
    expect(said).toContain("&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;");
  });

  it("shows what is no number as a dash", () => {
    const said = writeReport({ ...NOTHING, cells: [row("warmpath", { ttftMeanMs: Number.NaN }), row("llm-d", { ttftP99Ms: Infinity })] });
    expect(said).not.toMatch(/NaN|Infinity/);
    expect(said).toContain("<td>–</td>");
  });
});
