import { type Draw, lognormalTokens, wholeBetween } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

/** Of arrivals, those that are a burst; the others are one request with a prompt of its own. */
const BURSTS = 0.15;
/** Of bursts, those that ask one prompt several times (best of n); the others ask different things of one text. */
const BEST_OF = 0.4;

/** A text nobody has seen, then many requests about it at the same moment; between them, single ones. */
export function burstPlan(draw: Draw, requests: number): Plan {
  const writer = new PlanWriter(draw);
  while (writer.requests.length < requests) {
    const at = writer.nextAt();
    const thread = new Thread();
    if (draw() >= BURSTS) {
      writer.append(thread, lognormalTokens(draw, 1_500, 0.8, 50, 16_000));
      ask(writer, thread, at);
      continue;
    }
    writer.append(thread, lognormalTokens(draw, 6_000, 0.6, 1_000, 32_000));
    const bestOf = draw() < BEST_OF;
    const siblings = bestOf ? wholeBetween(draw, 4, 16) : wholeBetween(draw, 8, 48);
    for (let sibling = 0; sibling < siblings; sibling++) {
      const own = thread.fork();
      if (!bestOf) writer.append(own, lognormalTokens(draw, 120, 0.8, 10, 1_000));
      ask(writer, own, at);
    }
  }
  return writer.plan("burst");
}

function ask(writer: PlanWriter, thread: Thread, at: number): void {
  writer.ask(thread, { session: null, outputTokens: lognormalTokens(writer.draw, 250, 0.7, 16, 1_500), when: { at } });
}
