/** What invariants look at: each hook is called when its thing has happened. A violation is a value; the history goes on or ends as the player wants. */
import type { LeaseReport, ResidencyFrame } from "../../../src/pool/frames.ts";
import type { DecideAnswer, ReplicaAnswer } from "../../../src/router/dispatcher.ts";
import type { ResyncNeed } from "../../../src/router/sync.ts";
import type { Beat } from "./core-pool.ts";
import type { Request } from "./edge.ts";
import type { Replica } from "./replica.ts";
import type { World } from "./world.ts";

export interface Watch {
  /** A quarter of a second has passed. */
  ticked?(): void;
  /** A call is about to be made. */
  asking?(request: Request): void;
  /** A call was answered, at once or from the line; null: it waits. `lineBefore`: how many waited when it called. */
  answered?(request: Request, answer: DecideAnswer | null, lineBefore: number): void;
  placed?(request: Request, replica: Replica, answer: ReplicaAnswer): void;
  reporting?(replica: Replica, step: LeaseReport): void;
  reported?(replica: Replica, step: LeaseReport): void;
  framing?(replica: Replica, update: ResidencyFrame): void;
  framed?(replica: Replica, update: ResidencyFrame, need: ResyncNeed): void;
  beaten?(replica: Replica, beat: Beat, need: ResyncNeed): void;
  joined?(replica: Replica, need: ResyncNeed): void;
  /** Its pool's memory of it is gone: it was silent for too long, or has begun a new life. */
  forgotten?(replica: Replica): void;
  poolForgot?(): void;
  jumped?(): void;
  /** Faults are over, everything had its time: what must be so now. */
  ended?(): void;
}

export interface Invariant {
  name: string;
  /** Line of the requirement, as docs and undoings name it. */
  says: string;
  watch(world: World, fail: (message: string) => void): Watch;
}

export interface Violation {
  invariant: string;
  message: string;
  /** Index of the step. */
  step: number;
  /** Events of the core before it. */
  events: number;
}
