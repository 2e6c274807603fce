import { type Draw, exponential, lognormalTokens, wholeBetween } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

const APPS = 8;
const MEAN_TURNS = 6;
const MOST_TURNS = 24;
const THINK_LEAST_MS = 1_000;
const THINK_MEAN_MS = 10_000;
/** Of conversations, those that begin with a document. */
const WITH_DOCUMENT = 0.3;

/** People who talk: one of a few system prompts, some begin with a document; the next turn comes when the answer was read. */
export function conversationPlan(draw: Draw, requests: number): Plan {
  const writer = new PlanWriter(draw);
  const apps = Array.from({ length: APPS }, () => {
    const thread = new Thread();
    writer.append(thread, wholeBetween(draw, 200, 1_500));
    return thread;
  });
  for (let number = 0; writer.requests.length < requests; number++) {
    const thread = apps[Math.floor(draw() * APPS)]?.fork() ?? new Thread();
    if (draw() < WITH_DOCUMENT) writer.append(thread, lognormalTokens(draw, 4_000, 0.7, 1_000, 24_000));
    const turns = Math.min(MOST_TURNS, Math.ceil(exponential(draw, MEAN_TURNS)));
    const at = writer.nextAt();
    let before: number | null = null;
    for (let turn = 0; turn < Math.max(1, turns); turn++) {
      writer.append(thread, lognormalTokens(draw, 80, 1, 8, 4_000));
      const gapMs = THINK_LEAST_MS + exponential(draw, THINK_MEAN_MS);
      const when = before === null ? { at } : { after: [before], gapMs };
      const outputTokens = lognormalTokens(draw, 250, 0.8, 8, 2_000);
      before = writer.ask(thread, { session: `conversation-${number}`, outputTokens, when });
    }
  }
  return writer.plan("conversation");
}
