import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { appendLog, lineOf, parseLog } from "../../../cli/decision-log.ts";
import { describe as inWords, main, replayAll } from "../../../cli/replay.ts";
import { encodeRecord, type ExplainRecord, replay } from "../../../src/explain/record.ts";
import { PROFILES } from "../../../src/decision/profiles.ts";
import { listDecisions } from "../../../src/explain/listing.ts";
import { streamOf } from "../../../simulator/chance.ts";
import { ENGINES } from "../../../simulator/constants.ts";
import { paced } from "../../../simulator/plan.ts";
import { DEFAULTS, simulate } from "../../../simulator/simulate.ts";
import { WORKLOADS } from "../../../simulator/workload.ts";
import { recordOf } from "../explain/records.ts";
import { candidate, request, viewOf } from "../decision/views.ts";

const REQUESTS = process.env["WARMPATH_FULL"] === undefined ? 600 : 10_000;

/** Decisions of a fleet that loads, moves blocks and loses a replica. */
function simulated(requests: number): ExplainRecord[] {
  const records: ExplainRecord[] = [];
  const plan = paced(WORKLOADS.conversation(streamOf(5, 7), requests), 20);
  const turnover = [
    { atMs: 6_000, replica: 1, change: "leave" },
    { atMs: 15_000, replica: 1, change: "join" },
  ] as const;
  const options = { ...DEFAULTS, engine: ENGINES["llama-8b-h100"], replicas: 4, hostTokens: 100_000, turnover };
  simulate(
    plan,
    { kind: "product", profile: "cache-aware" },
    { ...options, topology: "elastic" },
    { decided: (record) => records.push(record) },
  );
  return records;
}

const recordsOf = (text: string): ExplainRecord[] => {
  const parsed = parseLog(text);
  if (parsed.kind === "invalid") throw new Error(parsed.reason);
  return parsed.records;
};
const textOf = (records: readonly ExplainRecord[]): string => records.map(lineOf).join("");

const records = simulated(REQUESTS);

describe("the log of a run", () => {
  it("decides the same again, all of it, after it went through a file", () => {
    const read = recordsOf(textOf(records));
    expect(read.length).toBeGreaterThanOrEqual(REQUESTS);
    for (const [at, record] of read.entries()) {
      const { chosen, outcome, reason, transfer } = replay(record);
      expect({ chosen, outcome, reason, transfer }).toEqual(records[at]?.decision);
    }
    const replayed = replayAll(read, null);
    expect(replayed).toMatchObject({ decisions: read.length, asLogged: read.length, otherChoices: 0, profile: "as logged" });
    const { promptTokens, everComputedTokens, heldTokens, chosenTokens, reusedTokens } = replayed.funnel;
    const down = [promptTokens, everComputedTokens, heldTokens, chosenTokens, reusedTokens];
    expect(down).toEqual(down.toSorted((a, b) => b - a));
    expect(reusedTokens).toBeGreaterThan(promptTokens / 2);
    expect(replayed.hindsight.known).toBeGreaterThan(0.9 * REQUESTS);
  });

  it("shows what another profile would have chosen: less held, later by prediction", () => {
    const { otherChoices, heldByChosenTokens, predictedTtftMs, asLogged } = replayAll(records, PROFILES["round-robin"]);
    expect(asLogged).toBe(records.length);
    expect(otherChoices).toBeGreaterThan(records.length / 2);
    expect(heldByChosenTokens.replayed).toBeLessThan(0.9 * heldByChosenTokens.logged);
    expect(predictedTtftMs.replayed).toBeGreaterThan(1.1 * predictedTtftMs.logged);
  });
});

describe("parsing a log", () => {
  const one = records.slice(0, 1);
  const row = (change: object): string =>
    JSON.stringify({ ...one.map(encodeRecord)[0], ...change }, (_key, value: unknown) => (value === undefined ? null : value));
  const view = one.map(encodeRecord)[0]?.view;

  it("takes the edge's list, one record, or one a line", () => {
    const some = records.slice(0, 3);
    const list = listDecisions([{ pool: "p", funnel: replayAll(some, null).funnel, records: some.map(encodeRecord) }], 10);
    for (const text of [JSON.stringify(list), JSON.stringify(list, null, 2), textOf(some), `\n${textOf(some)}\n\n`])
      expect(recordsOf(text).map(({ id }) => id)).toEqual(some.map(({ id }) => id));
    expect(recordsOf(textOf(one))).toHaveLength(1);
  });

  it.each([
    ["", "there is no decision in it"],
    ['{"data":[]}', "there is no decision in it"],
    [`${textOf(one)}\n{"id":`, "line 3 is not JSON"],
    ["null\nnull", "decision 1: Invalid input"],
    [`${textOf(one)}${row({ profile: { name: "x", pick: "by heart", weights: {} } })}`, "decision 2: profile.pick"],
    [row({ profile: { ...PROFILES["cache-aware"], weights: { prefillMs: 1 } } }), "decision 1: profile.weights."],
    [row({ view: { ...view, columns: undefined } }), "decision 1: view.columns"],
    [row({ view: { ...view, numbers: [1, 2, 3] } }), "decision 1: view: its numbers are not a row for each name"],
    [row({ view: { ...view, numbers: ["1"] } }), "decision 1: view.numbers.0"],
    [row({ draw: 1 }), "decision 1: draw"],
    [row({ outcome: {} }), "decision 1: outcome.ttftMs"],
    [row({ view: { ...view, names: Array.from({ length: 65 }, () => "r") } }), "decision 1: view.names"],
  ])("says what is wrong with %.30j", (text, words) => {
    const parsed = parseLog(text);
    expect(parsed.kind === "invalid" ? parsed.reason : "").toContain(words);
  });
});

describe("the command", () => {
  let directory = "";
  const said: string[] = [];
  const inFile = (name: string, some: readonly ExplainRecord[]): string => {
    const file = join(directory, name);
    appendLog(file, some);
    return file;
  };

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "warmpath-replay-"));
    vi.spyOn(console, "log").mockImplementation((text: string) => void said.push(text));
    vi.spyOn(console, "error").mockImplementation((text: string) => void said.push(text));
  });
  afterAll(() => {
    vi.restoreAllMocks();
    rmSync(directory, { recursive: true });
  });

  it("ends with 0 when all come out as logged, and writes its figures", async () => {
    const json = join(directory, "figures.json");
    expect(await main([inFile("run.jsonl", records), "--profile", "least-loaded", "--json", json])).toBe(0);
    const figures = replayAll(records, PROFILES["least-loaded"]);
    expect(JSON.parse(readFileSync(json, "utf8"))).toEqual(JSON.parse(JSON.stringify(figures)));
    expect(said.at(-1)).toBe(inWords(figures));
  });

  it("ends with 1 when one does not", async () => {
    const changed = recordOf(viewOf([candidate(0), candidate(1)]), request(100));
    changed.decision = { ...changed.decision, chosen: 1 };
    expect(await main([inFile("changed.jsonl", [changed])])).toBe(1);
    expect(said.at(-1)).toContain("1 decisions; 0 come out as logged");
  });

  it("explains one request in words", async () => {
    const file = inFile("why.jsonl", records.slice(0, 5));
    expect(await main([file, "--why", records[3]?.id ?? ""])).toBe(0);
    expect(said.at(-1)).toMatch(/^r\d was chosen among 4 /);
    expect(await main([file, "--why", "nobody"])).toBe(2);
  });

  it.each([
    [[], "Name one log"],
    [["a", "b"], "Name one log"],
    [["a", "--profile", "magic"], 'no profile "magic"'],
    [["a", "--nonsense"], "nonsense"],
    [["no-such-file"], "can't be read"],
  ])("ends with 2 and says what is wrong with %j", async (args, words) => {
    expect(await main(args)).toBe(2);
    expect(said.at(-1)).toContain(words);
  });

  it("without a log prints its usage", async () => {
    expect(await main([])).toBe(2);
    expect(said.at(-1)).toMatch(/^Name one log\.\nwarmpath replay LOG \[options\]\n {2}LOG /);
  });

  it("ends with 2 for what is no log", async () => {
    const file = join(directory, "prose.txt");
    writeFileSync(file, "Once upon a time");
    expect(await main([file])).toBe(2);
    expect(said.at(-1)).toContain("prose.txt: line 1 is not JSON");
  });
});
