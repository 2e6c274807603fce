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

/** `requests`: at least so many; a session that has begun is finished. */
export type WorkloadMaker = (draw: Draw, requests: number) => Plan;

export const WORKLOADS: Readonly<Record<WorkloadName, WorkloadMaker>> = {
  conversation: conversationPlan,
  agent: agentPlan,
  reasoning: reasoningPlan,
  burst: burstPlan,
  "shared-prefix": sharedPrefixPlan,
  mixed: mixedPlan,
};
