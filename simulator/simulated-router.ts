/** The interface between a fleet and what chooses its replicas: a peer's rule (peer-router.ts) or the product (product-router.ts). */
import type { LeaseReport } from "../src/pool/frames.ts";
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
  /** The client is asked to come later; it does not come. */
  | { kind: "refused" };

/** Where the chosen replica gets KV from. */
export interface Source {
  kind: "prefill" | "pull";
  replica: number;
}

export interface SimulatedRouter {
  readonly name: string;
  /** Answers now or later, once; never after `giveUp`. */
  ask(question: Question, answer: (placement: Placement) => void): void;
  /** The client left: while waiting (`attempt` null) or from a replica. */
  giveUp(request: PlannedRequest, attempt: number | null): void;
  joined(replica: SimulatedReplica): void;
  /** Its connection is cut; what it held is gone. */
  left(replica: SimulatedReplica): void;
  /** A step of a request's life, as the replica reports it. */
  lease(replica: SimulatedReplica, step: LeaseReport): void;
  /** Tiers of these segments changed on it; read them with `replica.engine.cache.tierBits`. */
  changed(replica: SimulatedReplica, segments: readonly number[]): void;
}

/** How the router learns what replicas hold. */
interface EventOptions {
  /** From a change at the replica until the router knows it. */
  delayMs: number;
  /** Share of residency frames that are lost, 0 to 1. */
  loss: number;
  /** False: replicas announce nothing that they hold. */
  announced: boolean;
}

/** What a router is built from. */
export interface RouterSetting {
  timeline: Timeline;
  tree: SegmentTree;
  events: EventOptions;
  draw: Draw;
  /** Number of routers. Each has its own bookings and the same events; the product has one pool for all. */
  edges: number;
}
