/**
 * Random histories of the pool's core, and what must be so in all of them. A slice here, one history of each theme and a few more; `WARMPATH_FUZZ_EVENTS=500000`
 * for the long run, which leaves its figures; `WARMPATH_FUZZ_SEED` plays others. What fails is printed as a short history, as code.
 *
 * The generator is made by hand and not of fast-check's commands: half a million events go through in a minute or two of one core, histories of thousands of
 * steps are shrunk by leaving steps out, and what is printed is data.
 */
import { expect, it } from "vitest";
import { writeResult } from "../../bench/result.ts";
import { historyOf } from "./generate.ts";
import type { History, Step } from "./history.ts";
import { played } from "./play.ts";
import { type Account, type Found, fuzz, shortCode, text } from "./run.ts";
import { shrunk } from "./shrink.ts";
import type { Invariant } from "./watch.ts";

const USUAL = 20_000;
const total = Number(process.env["WARMPATH_FUZZ_EVENTS"] ?? USUAL);
const seed = Number(process.env["WARMPATH_FUZZ_SEED"] ?? 10);
const LIMIT_MS = 120_000 + total;
/** So many failures are looked for, and so many of them shrunk. */
const MOST_FOUND = 5;
const SHRUNK = 2;

it(
  `${total} events break no invariant`,
  () => {
    const startedAt = performance.now();
    const { accounts, found, histories, events } = fuzz({ events: total, seed, mostFound: MOST_FOUND });
    const seconds = (performance.now() - startedAt) / 1_000;
    const texts = found.map((one, at) => text(one, at < SHRUNK ? shortCode(one) : ""));
    expect(texts.length, texts.join("\n\n")).toBe(0);
    if (total === USUAL) return;
    const parameters = { seed, histories, events, seconds: Math.round(seconds), perSecond: Math.round(events / seconds) };
    process.stdout.write(`${writeResult<Account | Found>("fuzz-core", parameters, accounts)}\n`);
  },
  LIMIT_MS,
);

it("plays a history the same each time", () => {
  const history = historyOf(seed, "anything");
  expect(played(history)).toEqual(played(history));
});

it("says which invariant a history broke, at which step", () => {
  const nobodyAsks: Invariant = { name: "nobody asks", says: "", watch: (_world, fail) => ({ asking: ({ id }) => fail(`${id} asks`) }) };
  const { setup } = historyOf(seed, "anything");
  const steps: Step[] = [
    { do: "pass", ms: 100 },
    { do: "ask", id: 7, conversation: 0, tokens: 40, outputTokens: 1 },
  ];
  const { violations } = played({ setup, steps }, [nobodyAsks]);
  expect(violations).toEqual([expect.objectContaining({ invariant: "nobody asks", message: "q7 asks", step: 1 })]);
});

it("shrinks a history to the steps that matter", () => {
  const { setup } = historyOf(seed, "anything");
  const pass = (ms: number): Step => ({ do: "pass", ms });
  const history: History = { setup, steps: Array.from({ length: 100 }, (_, ms) => pass(ms)) };
  const fails = ({ steps }: History): boolean => [17, 60, 61].every((ms) => steps.some((step) => step.do === "pass" && step.ms === ms));
  expect(shrunk(history, fails).steps).toEqual([pass(17), pass(60), pass(61)]);
});
