import type { EngineConstants } from "../../../simulator/constants.ts";
import { EngineModel, type EngineOptions } from "../../../simulator/engine-model.ts";
import type { Plan } from "../../../simulator/plan.ts";
import { type Asking, PlanWriter, Thread } from "../../../simulator/plan-writer.ts";
import { seededDraw } from "../../../simulator/chance.ts";
import type { Sequence } from "../../../simulator/sequence.ts";

/** Round numbers, so that step times can be worked out by hand. */
export const TOY: EngineConstants = {
  name: "toy",
  baseMs: 10,
  prefillMsPerToken: 1,
  attentionMsPerPair: 0.001,
  decodeMsPerSequence: 2,
  decodeMsPerContextToken: 0.01,
  kvTokens: 4_096,
  blockTokens: 16,
  maxSequences: 4,
  stepTokens: 512,
  loadMsPerToken: 0.1,
  transferMsPerToken: 0.05,
  transferFixedMs: 2,
};

/** Prompts given by the tokens of their parts: equal first parts are the same text. */
export function planOf(prompts: readonly { parts: readonly (readonly [string, number])[]; outputTokens: number; at?: number }[]): Plan {
  const writer = new PlanWriter(seededDraw(1));
  const threads = new Map<string, Thread>();
  for (const { parts, outputTokens, at = 0 } of prompts) {
    let name = "";
    let thread = new Thread();
    for (const [part, tokens] of parts) {
      name += `/${part}`;
      let next = threads.get(name);
      if (next === undefined) {
        next = thread.fork();
        writer.append(next, tokens);
        threads.set(name, next);
      }
      thread = next;
    }
    const when: Asking["when"] = { at };
    writer.ask(thread.fork(), { session: null, outputTokens, when });
  }
  return writer.plan("by hand");
}

export interface Seen {
  what: "started" | "first" | "finished";
  id: number;
  ms: number;
  cachedTokens: number;
}

/** An engine and what it says. `run` lets time pass until nothing is left to do. */
export function engineFor(
  plan: Plan,
  constants: EngineConstants = TOY,
  options: EngineOptions = { hostTokens: 0, reuseGenerated: true },
): {
  engine: EngineModel;
  seen: Seen[];
  submit: (id: number, nowMs: number, externalTokens?: number) => boolean;
  run: (untilMs?: number) => number;
} {
  const seen: Seen[] = [];
  const note =
    (what: Seen["what"]) =>
    ({ job, cachedTokens }: Sequence, ms: number): void => {
      seen.push({ what, id: job.request.id, ms, cachedTokens });
    };
  const engine = new EngineModel(constants, plan.tree, options, {
    started: note("started"),
    firstToken: note("first"),
    finished: note("finished"),
    stepped: () => undefined,
    gaps: () => undefined,
  });
  const run = (untilMs = Infinity): number => {
    let nowMs = 0;
    while (engine.nextMs <= untilMs && engine.nextMs < Infinity) {
      nowMs = engine.nextMs;
      engine.advance(nowMs);
    }
    return nowMs;
  };
  const submit = (id: number, nowMs: number, externalTokens = 0): boolean => {
    const request = plan.requests[id];
    if (request === undefined) throw new RangeError(`no request ${id}`);
    return engine.submit({ key: `${id} 1`, request, outputTokens: request.outputTokens, externalTokens, loads: true }, nowMs);
  };
  return { engine, seen, submit, run };
}
