/** What a fleet asks of whoever chooses for it: a peer's rule (peer-arm.ts) or the product (product-arm.ts). */
import type { LeaseStep } from "../src/router/intake.ts";
import type { Draw } from "./chance.ts";
import type { PlannedRequest, SegmentTree } from "./plan.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";
import type { Timeline } from "./timeline.ts";

export interface Question {
  request: PlannedRequest;
  arrivedAtMs: number;
  /** Attempts that came to nothing, oldest first. */
  failed: readonly { replica: number; attempt: number }[];
  /** When its client gives up; null: never. */
  deadlineMs: number | null;
  /** How often it wants tokens, ms; null: it does not say. */
  tpotMs: number | null;
}

export type Placement =
  /** `loads` false: it computes what lies on its lower tiers. `rttMs`: between the edge and this replica; absent: as the fleet's. */
  | { kind: "placed"; replica: number; attempt: number; source: Source | null; loads: boolean; rttMs?: number }
  /** The client is told to come later; it does not. */
  | { kind: "refused" };

/** Where the chosen replica gets KV from. */
export interface Source {
  kind: "prefill" | "pull";
  replica: number;
}

export interface Arm {
  readonly name: string;
  /** Answers now or later, once; never after `giveUp`. */
  ask(question: Question, answer: (placement: Placement) => void): void;
  /** The client left: while waiting (`attempt` null) or from a replica. */
  giveUp(request: PlannedRequest, attempt: number | null): void;
  joined(replica: SimulatedReplica): void;
  /** Its connection is cut; what it held is gone. */
  left(replica: SimulatedReplica): void;
  /** A step of a request's life, as the replica reports it. */
  lease(replica: SimulatedReplica, step: LeaseStep): void;
  /** Tiers of these segments changed on it; read them with `replica.engine.cache.tierBits`. */
  changed(replica: SimulatedReplica, segments: readonly number[]): void;
}

/** How what replicas hold becomes known. */
interface EventOptions {
  /** From a change to its being known. */
  delayMs: number;
  /** Share of residency frames that never come. */
  loss: number;
  /** False: replicas announce nothing that they hold. */
  announced: boolean;
}

/** What an arm is made of. */
export interface ArmSetting {
  timeline: Timeline;
  tree: SegmentTree;
  events: EventOptions;
  draw: Draw;
  /** Routers, each with its own books and the same events; the product has one book for all. */
  edges: number;
}
