/** How sure each replica is of what it holds, by its last heartbeat. People are shown it, also with each decision; no decision rests on it. */

/**
 * exact: it announces every change, and none is missing. degraded: what it announces is true, but it may hold more. predicted: it announces
 * nothing, and the pool predicts what it holds.
 */
export interface ResidencyClaim {
  state: "exact" | "degraded" | "predicted";
  /** A clause; absent: exact. */
  why?: string | undefined;
}

interface Claimed {
  epoch: number;
  claim: ResidencyClaim;
}

/** By slot, so at most 64. */
export class ResidencyClaims {
  readonly #claimed = new Map<number, Claimed>();

  /** Null: it did not say. */
  set(slot: number, epoch: number, claim: ResidencyClaim | null): void {
    if (claim === null) this.#claimed.delete(slot);
    else this.#claimed.set(slot, { epoch, claim });
  }

  /** Null: it has not said, in this epoch. */
  of({ slot, epoch }: { slot: number; epoch: number }): ResidencyClaim | null {
    const claimed = this.#claimed.get(slot);
    return claimed?.epoch === epoch ? claimed.claim : null;
  }

  /** For a decision's record: nothing where it is exact. */
  doubt(replica: { slot: number; epoch: number }): { residency?: ResidencyClaim } {
    const claim = this.of(replica);
    return claim === null || claim.state === "exact" ? {} : { residency: claim };
  }
}
