/** The policies of pools, by name. policy.ts says what a policy is and shows how one is written. */
import { NOTHING } from "./cost.ts";
import type { Profile } from "./decision.ts";
import type { LogicPolicy, Policy } from "./policy.ts";

/** A policy is one entry here: its name is its key, everywhere. No weight is tuned. */
const POLICIES = {
  /** Least predicted harm in time. */
  "cache-aware": {
    weights: {
      ...NOTHING,
      queueMs: 1,
      stuckMs: 1,
      awaitedMs: 1,
      prefillMs: 1,
      loadMs: 1,
      stallMs: 1,
      displacementMs: 1,
      decodeMs: 1,
      leaveMs: 1,
    },
    holds: true,
  },
  "least-loaded": { weights: { ...NOTHING, inFlight: 1 } },
  "round-robin": { said: "by its turn", choose: ({ turn }, open) => turn % open.length },
  random: { said: "by chance", choose: (_request, open, draw) => Math.floor(draw() * open.length) },
  /** Where the session was, whatever it costs, unless that replica is full or gone; then the least loaded. The weight outweighs any count in flight. */
  sticky: { weights: { ...NOTHING, inFlight: 1, away: 1_000_000 } },
} as const satisfies Readonly<Record<string, Policy>>;

export type ProfileName = keyof typeof POLICIES;

export const PROFILE_NAMES = Object.keys(POLICIES) as ProfileName[];

/** What a deployment gets that names none. */
export const DEFAULT_PROFILE: ProfileName = "cache-aware";

/** Names of those that are logic, and what stands in a profile's `pick` for all others. */
export const LOWEST_COST = "lowest-cost";
export const PICKS: readonly string[] = [
  LOWEST_COST,
  ...Object.entries(POLICIES).flatMap(([name, policy]) => ("choose" in policy ? [name] : [])),
];

function profileOf(name: string, policy: Policy): Profile {
  const { weights = NOTHING } = policy;
  if ("choose" in policy) return { name, weights, pick: name };
  return { name, weights, ...(policy.holds === undefined ? {} : { holds: policy.holds }), pick: LOWEST_COST };
}

export const PROFILES = Object.fromEntries(Object.entries(POLICIES).map(([name, policy]) => [name, profileOf(name, policy)])) as Readonly<
  Record<ProfileName, Profile>
>;

export const CACHE_AWARE = PROFILES["cache-aware"];

/** The logic that a profile names; null: it chooses by cost, or the record that names it is older than the table. */
export function logicOf({ pick }: Pick<Profile, "pick">): LogicPolicy | null {
  const policies: Readonly<Record<string, Policy>> = POLICIES;
  const policy = Object.hasOwn(policies, pick) ? policies[pick] : undefined;
  return policy !== undefined && "choose" in policy ? policy : null;
}
