import type { CostTerms, Profile } from "./decision.ts";

export const NOTHING: CostTerms = {
  queueMs: 0,
  stuckMs: 0,
  awaitedMs: 0,
  prefillMs: 0,
  loadMs: 0,
  stallMs: 0,
  displacementMs: 0,
  decodeMs: 0,
  leaveMs: 0,
  inFlight: 0,
  away: 0,
};

/** A profile is one entry here: its name is its key, everywhere. No weight is tuned. */
const WEIGHED = {
  /** The default: least predicted harm in time. */
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
    pick: "lowest-cost",
  },
  "least-loaded": { weights: { ...NOTHING, inFlight: 1 }, pick: "lowest-cost" },
  "round-robin": { weights: NOTHING, pick: "turn" },
  random: { weights: NOTHING, pick: "draw" },
  /** Where the session was, whatever it costs, unless that replica is full or gone; then the least loaded. The weight outweighs any count in flight. */
  sticky: { weights: { ...NOTHING, inFlight: 1, away: 1_000_000 }, pick: "lowest-cost" },
} as const satisfies Readonly<Record<string, Omit<Profile, "name">>>;

export type ProfileName = keyof typeof WEIGHED;

export const PROFILE_NAMES = Object.keys(WEIGHED) as ProfileName[];

export const PROFILES = Object.fromEntries(Object.entries(WEIGHED).map(([name, weighed]) => [name, { name, ...weighed }])) as Readonly<
  Record<ProfileName, Profile>
>;

export const CACHE_AWARE = PROFILES["cache-aware"];
