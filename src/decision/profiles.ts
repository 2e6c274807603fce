import type { CostTerms, Profile, ProfileName } from "./decision.ts";

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

/** The default: least predicted harm in time. No weight is tuned. */
export const CACHE_AWARE: Profile = {
  name: "cache-aware",
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
};

export const LEAST_LOADED: Profile = { name: "least-loaded", weights: { ...NOTHING, inFlight: 1 }, pick: "lowest-cost" };

export const ROUND_ROBIN: Profile = { name: "round-robin", weights: NOTHING, pick: "turn" };

export const RANDOM: Profile = { name: "random", weights: NOTHING, pick: "draw" };

/** Where the session was, whatever it costs, unless that replica is full or gone; then the least loaded. The weight outweighs any count in flight. */
export const STICKY: Profile = { name: "sticky", weights: { ...NOTHING, inFlight: 1, away: 1_000_000 }, pick: "lowest-cost" };

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  "cache-aware": CACHE_AWARE,
  "least-loaded": LEAST_LOADED,
  "round-robin": ROUND_ROBIN,
  random: RANDOM,
  sticky: STICKY,
};
