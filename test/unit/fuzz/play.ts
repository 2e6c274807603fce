/** Plays a history against the core and says which invariants it broke. */
import type { History } from "./history.ts";
import { BELIEVED } from "./invariants/believed.ts";
import { LEARNING } from "./invariants/learning.ts";
import { LEASES } from "./invariants/leases.ts";
import { MEMORY } from "./invariants/memory.ts";
import { STATE } from "./invariants/state.ts";
import { WAITING } from "./invariants/waiting.ts";
import type { Invariant, Violation } from "./watch.ts";
import { World } from "./world.ts";

/** All of them, each with a name by which it can be left out. */
export const INVARIANTS: readonly Invariant[] = [...LEARNING, ...BELIEVED, ...WAITING, ...LEASES, ...MEMORY, ...STATE];

export interface Played {
  violations: readonly Violation[];
  events: number;
  idleEvents: number;
}

/**
 * @param invariants by name, those that are looked at; all where absent.
 * @param until the history ends as soon as this invariant was broken; absent: as soon as any was; "end": never before its end.
 */
export function played(history: History, invariants: readonly Invariant[] = INVARIANTS, until?: string): Played {
  const world = new World(history.setup, invariants);
  const isOver = ({ violations }: World): boolean =>
    until === undefined ? violations.length > 0 : violations.some(({ invariant }) => invariant === until);
  try {
    world.play(history.steps, isOver);
  } catch (error) {
    // What the core throws is a bug of it, whatever the history.
    world.broke("throws nothing", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const { idleEvents, violations, pool } = world;
  return { violations, events: pool.events - idleEvents, idleEvents };
}

/** For tests: what was broken, in words; nothing is right. */
export function play(history: History): string[] {
  return played(history).violations.map(({ invariant, message }) => `${invariant}: ${message}`);
}
