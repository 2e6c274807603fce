import { type Draw, lognormalTokens, wholeBetween } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { PlanWriter, Thread } from "./plan-writer.ts";

interface BurstShape {
  /** Of arrivals, those that are a burst; the others are one request with a prompt of its own. */
  bursts: number;
  /** Of bursts, those that ask one prompt several times (best of n); the others ask different things of one text. */
  bestOf: number;
  textTokens: number;
  aloneTokens: number;
  samples: readonly [least: number, most: number];
  questions: readonly [least: number, most: number];
  outputTokens: number;
}

const BURST: BurstShape = {
  bursts: 0.15,
  bestOf: 0.4,
  textTokens: 6_000,
  aloneTokens: 1_500,
  samples: [4, 16],
  questions: [8, 48],
  outputTokens: 250,
};

/** A text nobody has seen, then many requests about it at the same moment; between them, single ones. */
export function burstPlan(draw: Draw, requests: number, shape: BurstShape = BURST): Plan {
  const writer = new PlanWriter(draw);
  while (writer.requests.length < requests) {
    const at = writer.nextAt();
    const thread = new Thread();
    if (draw() >= shape.bursts) {
      writer.append(thread, lognormalTokens(draw, shape.aloneTokens, 0.8, 50, 16_000));
      ask(writer, shape, thread, at);
      continue;
    }
    writer.append(thread, lognormalTokens(draw, shape.textTokens, 0.6, 1_000, 32_000));
    const bestOf = draw() < shape.bestOf;
    const siblings = bestOf ? wholeBetween(draw, ...shape.samples) : wholeBetween(draw, ...shape.questions);
    for (let sibling = 0; sibling < siblings; sibling++) {
      const own = thread.fork();
      if (!bestOf) writer.append(own, lognormalTokens(draw, 120, 0.8, 10, 1_000));
      ask(writer, shape, own, at);
    }
  }
  return writer.plan("burst");
}

function ask(writer: PlanWriter, shape: BurstShape, thread: Thread, at: number): void {
  writer.ask(thread, { session: null, outputTokens: lognormalTokens(writer.draw, shape.outputTokens, 0.7, 16, 1_500), when: { at } });
}
