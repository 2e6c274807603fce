import type { Role } from "../src/pool/replica.ts";
import type { EngineConstants } from "./constants.ts";
import { type EngineListener, EngineModel, type EngineOptions } from "./engine-model.ts";
import type { SegmentTree } from "./plan.ts";

/** One replica's engine and link. Its number stays when it comes back; then it is another life with nothing in it. */
export class SimulatedReplica {
  readonly number: number;
  readonly name: string;
  /** 1 for its first life. */
  readonly epoch: number;
  readonly roles: readonly Role[];
  /** It sends blocks to others and fetches theirs. */
  readonly transfers: boolean;
  readonly constants: EngineConstants;
  readonly engine: EngineModel;
  alive = true;
  /** For the fleet: when it has said it will advance the engine. */
  wakesAtMs = Infinity;
  /** Its network sends one transfer at a time. */
  #linkFreeAtMs = 0;

  constructor(
    place: { number: number; epoch: number; roles: readonly Role[]; transfers: boolean },
    constants: EngineConstants,
    tree: SegmentTree,
    options: EngineOptions,
    listener: EngineListener,
  ) {
    this.number = place.number;
    this.name = `r${place.number}`;
    this.epoch = place.epoch;
    this.roles = place.roles;
    this.transfers = place.transfers;
    this.constants = constants;
    this.engine = new EngineModel(constants, tree, options, listener);
  }

  /** When `tokens`, sent from this replica from now on, have arrived. */
  send(tokens: number, nowMs: number): number {
    const { transferFixedMs, transferMsPerToken } = this.constants;
    this.#linkFreeAtMs = Math.max(this.#linkFreeAtMs, nowMs) + tokens * transferMsPerToken;
    return this.#linkFreeAtMs + transferFixedMs;
  }
}

/** Makes a replica's `epoch`th life. */
export type ReplicaMaker = (number: number, epoch: number, listener: EngineListener) => SimulatedReplica;
