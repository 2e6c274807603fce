import { type Draw, lognormalTokens } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

const SYSTEM_TOKENS = 200;

/** Short questions, thousands of tokens of thought; each stands alone. */
export function reasoningPlan(draw: Draw, requests: number): Plan {
  const writer = new PlanWriter(draw);
  const system = new Thread();
  writer.append(system, SYSTEM_TOKENS);
  while (writer.requests.length < requests) {
    const thread = system.fork();
    writer.append(thread, lognormalTokens(draw, 300, 0.8, 30, 4_000));
    writer.ask(thread, { session: null, outputTokens: lognormalTokens(draw, 3_500, 0.4, 2_000, 8_000), when: { at: writer.nextAt() } });
  }
  return writer.plan("reasoning");
}
