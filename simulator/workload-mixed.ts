import { type Draw, lognormalTokens } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

/** Of requests, those with a long prompt and a short answer; the others have a short prompt and a long answer. */
const LONG_PROMPTS = 0.3;

/** Long prompts that come among long decodes: documents to be summed up, and questions to be thought about. Each stands alone. */
export function mixedPlan(draw: Draw, requests: number): Plan {
  const writer = new PlanWriter(draw);
  while (writer.requests.length < requests) {
    const thread = new Thread();
    const long = draw() < LONG_PROMPTS;
    writer.append(thread, long ? lognormalTokens(draw, 24_000, 0.5, 8_000, 100_000) : lognormalTokens(draw, 400, 0.8, 30, 4_000));
    const outputTokens = long ? lognormalTokens(draw, 150, 0.6, 16, 800) : lognormalTokens(draw, 2_000, 0.6, 300, 8_000);
    writer.ask(thread, { session: null, outputTokens, when: { at: writer.nextAt() } });
  }
  return writer.plan("mixed");
}
