import { expect, it } from "vitest";
import { type ProgressScreen, RunProgress } from "../../../cli/run-progress.ts";

function screenOf(kind: Partial<ProgressScreen>) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const screen = {
    isTerminal: true,
    hasColour: true,
    columns: 80,
    write: (text: string) => void written.push(text),
    nowMs: () => clock.ms,
    ...kind,
  };
  return { screen, written, clock };
}

it("a terminal has one line with a bar, written over, at most ten times a second", () => {
  const { screen, written, clock } = screenOf({ hasColour: false });
  const progress = new RunProgress(4, screen);
  progress.begin("agent, load 0.5, lmetric");
  progress.at(0.1, "too soon");
  clock.ms += 100;
  progress.at(0.5, "9 requests/s");
  progress.end();
  progress.begin("agent, load 0.5, llm-d");
  progress.clear();
  expect(written).toEqual([
    `\r\u001b[K${"░".repeat(24)} 1 of 4: agent, load 0.5, lmetric`,
    `\r\u001b[K${"█".repeat(3)}${"░".repeat(21)} 1 of 4: agent, load 0.5, lmetric: 50 %, 9 requests/s`,
    `\r\u001b[K${"█".repeat(6)}${"░".repeat(18)} 2 of 4: agent, load 0.5, llm-d`,
    "\r\u001b[K",
  ]);
});

it("a bar is coloured where colour is wanted, and never wider than the terminal", () => {
  const { screen, written } = screenOf({ columns: 40 });
  new RunProgress(1, screen).begin("a very long name of a workload");
  expect(written).toEqual([`\r\u001b[K\u001b[36m\u001b[39m${"░".repeat(24)} 1 of 1: a very`]);
});

it("elsewhere there are plain lines: one a step, and one every 10 s of a long one", () => {
  const { screen, written, clock } = screenOf({ isTerminal: false });
  const progress = new RunProgress(2, screen);
  progress.begin("one");
  clock.ms += 9_999;
  progress.at(0.3, "9 requests/s");
  clock.ms += 1;
  progress.at(0.4, "9 requests/s");
  progress.end();
  progress.begin("two");
  progress.clear();
  expect(written).toEqual(["1 of 2: one\n", "1 of 2: one: 40 %, 9 requests/s\n", "2 of 2: two\n"]);
  for (const mark of ["\u001b", "\r", "█", "░"]) expect(written.join("")).not.toContain(mark);
});
