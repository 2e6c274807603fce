/** Frames that are valid and untrue. Whatever the wire refuses does not get as far as the core. */
import type { LeaseReport } from "../../../src/pool/frames.ts";
import type { LeaseKey } from "../../../src/pool/lease.ts";
import { parseFromReplica } from "../../../src/wire/control.ts";
import type { Step } from "./history.ts";
import type { Replica } from "./replica.ts";
import type { World } from "./world.ts";

type Said = Extract<Step, { do: "report" | "hello" | "beat" }>;

export class HostileVoice {
  readonly #world: World;
  #nobodies = 0;

  constructor(world: World) {
    this.#world = world;
  }

  say(replica: Replica, said: Said): void {
    if (replica.setup.hostile !== true || replica.connection === null || replica.frozen) return;
    switch (said.do) {
      case "hello":
        // Over a new socket, which replaces the one it has.
        replica.connection = null;
        return replica.hello(this.#nobodiesLeases(said.running), said.sequences ?? replica.setup.sequences);
      case "beat": {
        const { entries, usedKvTokens, outputTokens } = said;
        return replica.beat({ entries, outputTokens, load: { usedKvTokens } });
      }
      case "report":
        return this.#report(replica, said);
    }
  }

  #report(replica: Replica, { of, report, times = 1 }: Extract<Said, { do: "report" }>): void {
    const key = of === "nobody" ? this.#nobodiesLeases(1)[0] : this.#leaseOf(replica, of === "own");
    if (key === undefined) return;
    const step = { ...report, id: key.id, attempt: key.attempt } as LeaseReport;
    // What only the frame has besides.
    const framed = step.event === "settled" ? { reason: "stop", prefillMs: 1, decodeMs: 1, ...step } : step;
    if (!parseFromReplica(JSON.stringify({ type: "leases", reports: [framed] })).ok) return;
    for (let time = 0; time < times; time++) replica.report(step);
  }

  #leaseOf(replica: Replica, own: boolean): LeaseKey | undefined {
    for (const other of this.#world.replicas) {
      if ((other === replica) !== own) continue;
      for (const { id, attempt } of other.jobs.values()) return { id, attempt };
    }
    return undefined;
  }

  #nobodiesLeases(count: number): LeaseKey[] {
    return Array.from({ length: count }, () => ({ id: `n${this.#nobodies++}`, attempt: 1 }));
  }
}
