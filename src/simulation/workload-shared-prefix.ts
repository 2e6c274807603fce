import { type Draw, lognormalTokens } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

const GROUPS = 150;
const SYSTEM_TOKENS = 6_000;

/** The shape of llm-d's benchmark: groups with a long system prompt each, and short questions to them, in no order. */
export function sharedPrefixPlan(draw: Draw, requests: number): Plan {
  const writer = new PlanWriter(draw);
  const groups = Array.from({ length: GROUPS }, () => {
    const thread = new Thread();
    writer.append(thread, SYSTEM_TOKENS);
    return thread;
  });
  while (writer.requests.length < requests) {
    const thread = groups[Math.floor(draw() * GROUPS)]?.fork() ?? new Thread();
    writer.append(thread, lognormalTokens(draw, 300, 0.6, 20, 2_000));
    writer.ask(thread, { session: null, outputTokens: lognormalTokens(draw, 300, 0.5, 16, 1_500), when: { at: writer.nextAt() } });
  }
  return writer.plan("shared-prefix");
}
