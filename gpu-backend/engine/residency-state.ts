/** How sure it is what an engine holds. */
import type { Engine } from "./engine.ts";

/**
 * exact: the engine says every change, and none is missing. degraded: what it says is true, but it may hold more. predicted: it says
 * nothing. `why`: of the engine, a clause of at most 200 characters.
 */
export type ResidencyState = { state: "exact" } | { state: "degraded" | "predicted"; why: string };

/** Since the replica's start. */
export interface KvEventCounts {
  /** Batches of events that were applied. */
  batches: number;
  /** Messages and events that could not be read. */
  malformed: number;
  /** Events of a type that is not known here. */
  unknown: number;
  /** How often batches were asked for again. */
  replays: number;
  /** Lives of the engine that were seen to end. */
  restarts: number;
}

export function residencyOf(engine: Pick<Engine, "kv" | "residency">): ResidencyState {
  const said = engine.residency?.();
  if (said !== undefined) return said;
  return engine.kv === null ? { state: "predicted", why: "its engine does not say what it holds" } : { state: "exact" };
}
