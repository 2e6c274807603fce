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
import { play, played } from "./play.ts";
import { type Account, type Found, fuzz, shortCode, text } from "./run.ts";
import { shrunk } from "./shrink.ts";

const USUAL = 20_000;
const total = Number(process.env["WARMPATH_FUZZ_EVENTS"] ?? USUAL);
const seed = Number(process.env["WARMPATH_FUZZ_SEED"] ?? 20_261_130);
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

it("tells of a history that it broke an invariant", () => {
  const setup = { ...historyOf(seed, "coldBurst").setup, constantTokens: 8 };
  // Not a word of these replicas is true, and the pool cannot know.
  const replicas = setup.replicas.map((replica) => ({ ...replica, pace: 1_000 }));
  const steps: Step[] = [
    { do: "ask", id: 0, conversation: 0, tokens: 4_000, outputTokens: 1 },
    { do: "pass", ms: 1_000 },
    { do: "leave", id: 0 },
  ];
  expect(play({ setup, steps })).toEqual([]);
  expect(play({ setup: { ...setup, replicas }, steps: [...steps.slice(0, 1), { do: "hang", replica: 0, ms: 1e9 }] })).not.toEqual([]);
});

it("shrinks a history to the steps that matter", () => {
  const { setup } = historyOf(seed, "anything");
  const pass = (ms: number): Step => ({ do: "pass", ms });
  const history: History = { setup, steps: Array.from({ length: 100 }, (_, ms) => pass(ms)) };
  const fails = ({ steps }: History): boolean => [17, 60, 61].every((ms) => steps.some((step) => step.do === "pass" && step.ms === ms));
  expect(shrunk(history, fails).steps).toEqual([pass(17), pass(60), pass(61)]);
});
