import { type Draw, lognormalTokens } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

interface ReasoningShape {
  systemTokens: number;
  questionTokens: number;
  outputTokens: number;
}

const REASONING: ReasoningShape = { systemTokens: 200, questionTokens: 300, outputTokens: 3_500 };

/** Short questions, thousands of tokens of thought; each stands alone. */
export function reasoningPlan(draw: Draw, requests: number, shape: ReasoningShape = REASONING): Plan {
  const writer = new PlanWriter(draw);
  const system = new Thread();
  writer.append(system, shape.systemTokens);
  while (writer.requests.length < requests) {
    const thread = system.fork();
    writer.append(thread, lognormalTokens(draw, shape.questionTokens, 0.8, 30, 4_000));
    writer.ask(thread, {
      session: null,
      outputTokens: lognormalTokens(draw, shape.outputTokens, 0.4, 2_000, 8_000),
      when: { at: writer.nextAt() },
    });
  }
  return writer.plan("reasoning");
}
