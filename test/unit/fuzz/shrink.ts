/** Makes a failing history short: steps are left out as long as it still fails (delta debugging: Zeller and Hildebrandt, IEEE TSE 28(2), 2002), then what is left is made plainer. */
import type { Ask, History, Step } from "./history.ts";

/** Plays at most so often. */
const MOST_PLAYS = 400;

/**
 * @param fails whether it still fails in the same way; called at most `most` times.
 * @returns the shortest one found that fails.
 */
export function shrunk(history: History, fails: (history: History) => boolean, most = MOST_PLAYS): History {
  let left = most;
  const stillFails = (steps: readonly Step[]): boolean => left-- > 0 && fails({ ...history, steps });
  let { steps } = history;
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < steps.length && left > 0;) {
      const without = steps.toSpliced(from, size);
      if (stillFails(without)) steps = without;
      else from += size;
    }
  }
  for (let at = 0; at < steps.length; at++) {
    const step = steps[at];
    for (const plainer of step === undefined ? [] : plainerOf(step)) {
      const changed = steps.with(at, plainer);
      if (!stillFails(changed)) continue;
      steps = changed;
      at--;
      break;
    }
    if (left <= 0) break;
  }
  return { ...history, steps };
}

/** What an ask may do without. */
const OPTIONAL: readonly (keyof Ask)[] = [
  "everyMs",
  "sharedTokens",
  "deadlineMs",
  "priority",
  "tenant",
  "tpotMs",
  "patienceMs",
  "failed",
  "losesAnswer",
];

function plainerOf(step: Step): Step[] {
  if (step.do !== "ask") return [];
  const plainer: Step[] = [];
  const { count = 1 } = step;
  if (count > 1) plainer.push({ ...step, count: count >> 1 }, { ...step, count: count - 1 });
  for (const field of OPTIONAL) {
    if (!(field in step)) continue;
    const { [field]: _left, ...rest } = step;
    plainer.push({
      ...rest,
      do: "ask",
      id: step.id,
      conversation: step.conversation,
      tokens: step.tokens,
      outputTokens: step.outputTokens,
    });
  }
  return plainer;
}
