import { type Draw, lognormalTokens, wholeBetween } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { type Asking, PlanWriter, Thread } from "./plan-writer.ts";

interface AgentShape {
  /** Agents of one kind share their preamble: system prompt and tools. */
  kinds: number;
  preambleTokens: readonly [least: number, most: number];
  /** Of the first request, beyond the preamble. */
  taskTokens: number;
  /** Of an agent, the first one not counted. */
  steps: readonly [least: number, most: number];
  outputTokens: number;
  toolResultTokens: number;
  toolMs: number;
  /** Of steps, those that send out sub-agents. */
  delegates: number;
  /** Of sub-agents, those that begin with all their parent has; the others with the preamble only. */
  knowsAll: number;
}

const AGENT: AgentShape = {
  kinds: 4,
  preambleTokens: [6_000, 16_000],
  taskTokens: 1_500,
  steps: [9, 47],
  outputTokens: 180,
  toolResultTokens: 700,
  toolMs: 4_000,
  delegates: 0.08,
  knowsAll: 0.5,
};

/** Agents at work: each step writes a few hundred tokens, a tool runs, its result is appended; now and then sub-agents go out and are waited for. */
export function agentPlan(draw: Draw, requests: number, shape: AgentShape = AGENT): Plan {
  const writer = new PlanWriter(draw);
  const kinds = Array.from({ length: shape.kinds }, () => {
    const thread = new Thread();
    writer.append(thread, wholeBetween(draw, ...shape.preambleTokens));
    return thread;
  });
  for (let number = 0; writer.requests.length < requests; number++) {
    const preamble = kinds[Math.floor(draw() * shape.kinds)] ?? new Thread();
    const thread = preamble.fork();
    writer.append(thread, lognormalTokens(draw, shape.taskTokens, 0.8, 100, 8_000));
    const session = `agent-${number}`;
    let last = step(writer, shape, thread, session, { at: writer.nextAt() });
    for (let left = wholeBetween(draw, ...shape.steps); left > 0; left--) {
      const waited = draw() < shape.delegates ? delegate(writer, shape, thread, preamble, session, last) : [last];
      writer.append(thread, toolResult(draw, shape));
      last = step(writer, shape, thread, session, { after: waited, gapMs: toolMs(draw, shape) });
    }
  }
  return writer.plan("agent");
}

/** Last requests of the sub-agents. */
function delegate(writer: PlanWriter, shape: AgentShape, parent: Thread, preamble: Thread, session: string, after: number): number[] {
  const { draw } = writer;
  return Array.from({ length: wholeBetween(draw, 2, 4) }, (_, number) => {
    const thread = (draw() < shape.knowsAll ? parent : preamble).fork();
    writer.append(thread, lognormalTokens(draw, 300, 0.6, 50, 2_000));
    const name = `${session}-${after}-${number}`;
    let last = step(writer, shape, thread, name, { after: [after], gapMs: 0 });
    for (let left = wholeBetween(draw, 2, 7); left > 0; left--) {
      writer.append(thread, toolResult(draw, shape));
      last = step(writer, shape, thread, name, { after: [last], gapMs: toolMs(draw, shape) });
    }
    return last;
  });
}

function step(writer: PlanWriter, shape: AgentShape, thread: Thread, session: string, when: Asking["when"]): number {
  return writer.ask(thread, { session, outputTokens: lognormalTokens(writer.draw, shape.outputTokens, 0.7, 20, 1_000), when });
}

function toolResult(draw: Draw, shape: AgentShape): number {
  return lognormalTokens(draw, shape.toolResultTokens, 1, 30, 12_000);
}

function toolMs(draw: Draw, shape: AgentShape): number {
  return lognormalTokens(draw, shape.toolMs, 1.2, 50, 120_000);
}
