/** Generated workloads. All lengths in tokens; seeds for tuning and for reported numbers must differ. */
import type { Draw } from "./chance.ts";
import type { Plan } from "./plan.ts";
import { agentPlan } from "./workload-agent.ts";
import { burstPlan } from "./workload-burst.ts";
import { conversationPlan } from "./workload-conversation.ts";
import { mixedPlan } from "./workload-mixed.ts";
import { reasoningPlan } from "./workload-reasoning.ts";
import { sharedPrefixPlan } from "./workload-shared-prefix.ts";

export const WORKLOAD_NAMES = ["conversation", "agent", "reasoning", "burst", "shared-prefix", "mixed"] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

/** `requests`: the least number; a session that has begun is finished. */
type WorkloadMaker = (draw: Draw, requests: number) => Plan;

export const WORKLOADS: Readonly<Record<WorkloadName, WorkloadMaker>> = {
  conversation: conversationPlan,
  agent: agentPlan,
  reasoning: reasoningPlan,
  burst: burstPlan,
  "shared-prefix": sharedPrefixPlan,
  mixed: mixedPlan,
};

/** The same kinds of work in other shapes: what is reported is measured on these, what is tuned on the others. */
export const OTHER_WORKLOADS: Readonly<Record<WorkloadName, WorkloadMaker>> = {
  ...WORKLOADS,
  agent: (draw, requests) =>
    agentPlan(draw, requests, {
      kinds: 7,
      preambleTokens: [3_000, 22_000],
      taskTokens: 900,
      steps: [6, 60],
      outputTokens: 260,
      toolResultTokens: 1_000,
      toolMs: 2_500,
      delegates: 0.05,
      knowsAll: 0.7,
    }),
  reasoning: (draw, requests) => reasoningPlan(draw, requests, { systemTokens: 900, questionTokens: 700, outputTokens: 2_600 }),
  burst: (draw, requests) =>
    burstPlan(draw, requests, {
      bursts: 0.25,
      bestOf: 0.6,
      textTokens: 4_000,
      aloneTokens: 2_500,
      samples: [2, 24],
      questions: [6, 30],
      outputTokens: 350,
    }),
  "shared-prefix": (draw, requests) =>
    sharedPrefixPlan(draw, requests, { groups: 90, systemTokens: 9_000, questionTokens: 500, outputTokens: 220 }),
};
