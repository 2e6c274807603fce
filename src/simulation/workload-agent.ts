import { type Draw, lognormalTokens, wholeBetween } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { type Asking, PlanWriter, Thread } from "./plan-writer.ts";

/** Agents of one kind share their preamble: system prompt and tools. */
const KINDS = 4;
/** Of steps, those that send out sub-agents. */
const DELEGATES = 0.08;
/** Of sub-agents, those that begin with all their parent has; the others with the preamble only. */
const KNOWS_ALL = 0.5;

/** Agents at work: each step writes a few hundred tokens, a tool runs, its result is appended; now and then sub-agents go out and are waited for. */
export function agentPlan(draw: Draw, requests: number): Plan {
  const writer = new PlanWriter(draw);
  const kinds = Array.from({ length: KINDS }, () => {
    const thread = new Thread();
    writer.append(thread, wholeBetween(draw, 6_000, 16_000));
    return thread;
  });
  for (let number = 0; writer.requests.length < requests; number++) {
    const preamble = kinds[Math.floor(draw() * KINDS)] ?? new Thread();
    const thread = preamble.fork();
    writer.append(thread, lognormalTokens(draw, 1_500, 0.8, 100, 8_000));
    const session = `agent-${number}`;
    let last = step(writer, thread, session, { at: writer.nextAt() });
    for (let left = wholeBetween(draw, 9, 47); left > 0; left--) {
      const waited = draw() < DELEGATES ? delegate(writer, thread, preamble, session, last) : [last];
      writer.append(thread, toolResult(draw));
      last = step(writer, thread, session, { after: waited, gapMs: toolMs(draw) });
    }
  }
  return writer.plan("agent");
}

/** Last requests of the sub-agents. */
function delegate(writer: PlanWriter, parent: Thread, preamble: Thread, session: string, after: number): number[] {
  const { draw } = writer;
  return Array.from({ length: wholeBetween(draw, 2, 4) }, (_, number) => {
    const thread = (draw() < KNOWS_ALL ? parent : preamble).fork();
    writer.append(thread, lognormalTokens(draw, 300, 0.6, 50, 2_000));
    const name = `${session}-${after}-${number}`;
    let last = step(writer, thread, name, { after: [after], gapMs: 0 });
    for (let left = wholeBetween(draw, 2, 7); left > 0; left--) {
      writer.append(thread, toolResult(draw));
      last = step(writer, thread, name, { after: [last], gapMs: toolMs(draw) });
    }
    return last;
  });
}

function step(writer: PlanWriter, thread: Thread, session: string, when: Asking["when"]): number {
  return writer.ask(thread, { session, outputTokens: lognormalTokens(writer.draw, 180, 0.7, 20, 1_000), when });
}

function toolResult(draw: Draw): number {
  return lognormalTokens(draw, 700, 1, 30, 12_000);
}

function toolMs(draw: Draw): number {
  return lognormalTokens(draw, 4_000, 1.2, 50, 120_000);
}
