import { expect, it } from "vitest";
import { FrameBudgets, type FrameKind, kindOfText } from "../../../src/pool/frame-budget.ts";

/** Frames of `seconds` seconds at an even rate that are let through. */
function through(budgets: FrameBudgets, kind: FrameKind, perSecond: number, seconds: number, length: number, name = "r"): number {
  let read = 0;
  for (let at = 0; at < perSecond * seconds; at++) if (budgets.frame(name, kind, length, (at * 1_000) / perSecond)) read++;
  return read;
}

it.each([
  ["hello", 0.2, 2_000],
  ["heartbeat", 1, 500_000],
  ["leases", 500, 900],
  ["residency", 500, 1_040],
] as const)("a replica that sends %s frames at %d a second is never cut off", (kind, perSecond, length) => {
  expect(through(new FrameBudgets(), kind, perSecond, 600, length)).toBe(perSecond * 600);
});

it("ten seconds of frames that a stall has held back may come at once", () => {
  const budgets = new FrameBudgets();
  const at = { heartbeat: 10, leases: 2_000, residency: 500, hello: 1 } as const;
  for (const [kind, count] of Object.entries(at))
    for (let frame = 0; frame < count; frame++) expect(budgets.frame("r", kind as FrameKind, 900, 5_000)).toBe(true);
});

it.each([
  ["hello", 2_000],
  ["heartbeat", 5_000],
  ["drain", 5_000],
  ["other", 5_000],
] as const)("of a flood of %s frames hardly one in a hundred is read", (kind, perSecond) => {
  expect(through(new FrameBudgets(), kind, perSecond, 10, 300)).toBeLessThan(perSecond / 10);
});

it("long frames count by their length", () => {
  expect(through(new FrameBudgets(), "leases", 100, 10, 1_000_000)).toBeLessThan(15);
});

it("a new socket brings no new budget, another name does", () => {
  const budgets = new FrameBudgets();
  while (budgets.frame("r", "hello", 300, 0));
  expect(budgets.socket("r", null, false, 0)).toBe(true);
  expect([budgets.frame("r", "hello", 300, 0), budgets.frame("s", "hello", 300, 0)]).toEqual([false, true]);
});

it("a name opens two sockets a second, and an address a bounded number for names that are not in the pool", () => {
  const budgets = new FrameBudgets();
  let [sockets, names] = [0, 0];
  for (let ms = 0; ms < 100_000; ms += 10) {
    if (budgets.socket("r", null, true, ms)) sockets++;
    if (budgets.socket(`n${ms}`, "192.0.2.1", false, ms)) names++;
  }
  expect(sockets).toBeLessThan(2 * 100 + 25);
  expect(names).toBeLessThan(4 * 100 + 130);
  expect(budgets.socket("known", "192.0.2.1", true, 100_000)).toBe(true);
});

it("a frame's kind is read off its beginning, wherever `type` stands there", () => {
  const said = ['{"type":"hello","protocol":1}', '{ "seq": 1, "type" : "heartbeat" }', `{"x":"${"x".repeat(300)}","type":"hello"}`, "{"];
  expect(said.map(kindOfText)).toEqual(["hello", "heartbeat", "other", "other"]);
});
