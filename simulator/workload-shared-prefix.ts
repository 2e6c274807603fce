import { type Draw, lognormalTokens } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

interface SharedPrefixShape {
  groups: number;
  systemTokens: number;
  questionTokens: number;
  outputTokens: number;
}

const SHARED_PREFIX: SharedPrefixShape = { groups: 150, systemTokens: 6_000, questionTokens: 300, outputTokens: 300 };

/** The shape of llm-d's benchmark: groups with a long system prompt each, and short questions to them, in no order. */
export function sharedPrefixPlan(draw: Draw, requests: number, shape: SharedPrefixShape = SHARED_PREFIX): Plan {
  const writer = new PlanWriter(draw);
  const groups = Array.from({ length: shape.groups }, () => {
    const thread = new Thread();
    writer.append(thread, shape.systemTokens);
    return thread;
  });
  while (writer.requests.length < requests) {
    const thread = groups[Math.floor(draw() * shape.groups)]?.fork() ?? new Thread();
    writer.append(thread, lognormalTokens(draw, shape.questionTokens, 0.6, 20, 2_000));
    writer.ask(thread, {
      session: null,
      outputTokens: lognormalTokens(draw, shape.outputTokens, 0.5, 16, 1_500),
      when: { at: writer.nextAt() },
    });
  }
  return writer.plan("shared-prefix");
}
