/** The replicas of a pool as people are shown them. */
import type { ReplicaState, Role } from "../pool/replica.ts";
import type { ResidencyClaim } from "../pool/residency-claim.ts";
import type { TierFill } from "../pool/tier-fill.ts";
import { leftOutNow } from "./exclusion.ts";
import type { PoolState } from "./state.ts";

export interface RosterReplica {
  name: string;
  state: ReplicaState;
  /** It failed every request lately and gets none for a while. */
  leftOut: boolean;
  roles: Role[];
  /** Requests that it has now, of so many that it computes at once and so many more that it queues. */
  inFlight: number;
  sequences: number;
  queueLimit: number;
  /** Predicted prefill of the requests there that have no first token yet, ms. */
  queuedMs: number;
  /** Nearest tier first; empty where the engine does not say what it holds. */
  tiers: TierFill[];
  /** How sure it is of what it holds; null: it does not say. */
  residency: ResidencyClaim | null;
}

export interface PoolRoster {
  /** Null until a replica has joined for the first time. */
  model: string | null;
  /** Requests in line, bound to no replica. */
  waiting: number;
  /** In the order of their slots. */
  replicas: RosterReplica[];
}

export function rosterOf(state: PoolState, nowMs: number): PoolRoster {
  const { membership, line, leases, fills, claims } = state;
  const leftOut = leftOutNow(state, nowMs);
  const replicas = membership.replicas.map((replica): RosterReplica => {
    const { slot, name, capacity, roles } = replica;
    const { inFlight, queuedPrefillMs } = leases.load(slot);
    const { sequences, queueLimit } = capacity;
    const load = { inFlight, sequences, queueLimit, queuedMs: queuedPrefillMs };
    const held = { tiers: [...fills.of(replica)], residency: claims.of(replica) };
    return { name, state: replica.state, leftOut: leftOut.includes(slot), roles: [...roles], ...load, ...held };
  });
  return { model: membership.model, waiting: line.length, replicas };
}
