/** What may happen at any time: requests of all kinds, and the faults that a fleet has. */
import type { Ask, ReplicaSetup, Setup, Step } from "./history.ts";
import type { Random } from "./random.ts";

/** Ids of background requests; those of the theme lie below. */
const FIRST_ID = 1_000_000;

export function setupOf(random: Random, replicas: readonly ReplicaSetup[], changes: Partial<Setup> = {}): Setup {
  return {
    seed: random.int(1, 1_000_000),
    replicas,
    noise: random.pick([0, 0.2, 0.2, 0.6]),
    prefillMsPerToken: random.pick([0.1, 0.2, 0.4]),
    constantTokens: 8,
    loadMsPerToken: 0.015,
    transferMsPerToken: 0.02,
    announceMs: random.pick([-1, -1, 0, 300, 2_500]),
    remotePrefillTokens: random.pick([null, null, 512]),
    ...changes,
  };
}

export function replicaOf(random: Random, changes: Partial<ReplicaSetup> = {}): ReplicaSetup {
  return {
    sequences: random.pick([2, 4, 8, 16]),
    queueLimit: random.pick([0, 2, 8]),
    kvTokens: random.pick([16_384, 40_960, 131_072]),
    pace: random.pick([1, 1, 1, 1.5, 4]),
    ...(random.chance(30) ? { hostTokens: 65_536 } : {}),
    ...(random.chance(40) ? { transfers: true } : {}),
    ...changes,
  };
}

export class Background {
  readonly #random: Random;
  readonly #setup: Setup;
  #id = FIRST_ID;

  constructor(random: Random, setup: Setup) {
    this.#random = random;
    this.#setup = setup;
  }

  ask(changes: Partial<Ask> = {}): Ask {
    const random = this.#random;
    const longest = Math.min(...this.#setup.replicas.map(({ kvTokens }) => kvTokens)) / 4;
    const tokens = random.chance(40) ? random.size(12, 200) : random.size(64, longest);
    const count = random.chance(30) ? random.int(2, 12) : 1;
    const id = this.#id;
    this.#id += 100;
    return {
      do: "ask",
      id,
      conversation: random.int(0, 5),
      tokens,
      outputTokens: random.size(1, 300),
      ...(count > 1 ? { count, everyMs: random.pick([0, 0, 20, 200]) } : {}),
      ...(random.chance(60) ? { sharedTokens: Math.floor(tokens * random.pick([0, 0.5, 0.9])) } : {}),
      ...(random.chance(20) ? { deadlineMs: random.pick([2_000, 10_000, 30_000]) } : {}),
      ...(random.chance(15) ? { priority: random.pick(["high", "low"] as const) } : {}),
      ...(random.chance(30) ? { tenant: random.int(1, 3) } : {}),
      ...(random.chance(5) ? { tpotMs: random.pick([20, 50]) } : {}),
      ...(random.chance(3) ? { counts: true } : {}),
      ...(random.chance(8) ? { patienceMs: random.size(10, 20_000) } : {}),
      ...(random.chance(3) ? { losesAnswer: true } : {}),
      ...(random.chance(4) ? { failed: random.int(0, this.#setup.replicas.length - 1) } : {}),
      ...changes,
    };
  }

  step(): Step {
    const random = this.#random;
    const replica = random.int(0, this.#setup.replicas.length - 1);
    return random.weighed<() => Step>([
      [40, () => this.ask()],
      [40, () => ({ do: "pass", ms: random.size(5, 4_000) })],
      [3, () => ({ do: "leave", id: Math.max(FIRST_ID, this.#id - 100 * random.int(1, 5)) })],
      [2, () => ({ do: "restart", replica, afterMs: random.size(100, 15_000) })],
      [2, () => ({ do: "cut", replica, ms: random.size(20, 5_000) })],
      [2, () => ({ do: "freeze", replica, ms: random.size(500, 15_000) })],
      [1, () => ({ do: "hang", replica, ms: random.size(500, 30_000) })],
      [3, () => ({ do: "lose", replica, frames: random.int(1, 3) })],
      [3, () => ({ do: "evict", replica, tokens: random.size(64, 20_000) })],
      [2, () => ({ do: "checkpoint" })],
      [1, () => ({ do: "forget" })],
      [1, () => ({ do: "jump", ms: random.pick([-3_600_000, -5_000, 5_000, 3_600_000]) })],
      [1, () => ({ do: "pass", ms: random.int(10_000, 60_000) })],
    ])();
  }

  /** Calm: no fault. */
  calmStep(): Step {
    return this.#random.chance(50) ? this.ask({ everyMs: 50 }) : { do: "pass", ms: this.#random.size(20, 4_000) };
  }
}
