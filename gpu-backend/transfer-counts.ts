/** How transfers to this replica went, by peer: for /metrics. */
import type { TransferReport } from "../src/pool/frames.ts";

/** A pool has at most 64 replicas, but they get other names over time. */
const MAX_PEERS = 128;
const OTHERS = "others";

export interface TransferCount {
  kind: TransferReport["kind"];
  peer: string;
  /** "used", or why not all of it came (transfer/receive.ts: Shortfall). */
  outcome: string;
  count: number;
}

export class TransferCounts {
  readonly #peers = new Set<string>();
  readonly #counts = new Map<string, TransferCount>();

  add(kind: TransferReport["kind"], replica: string, outcome: string): void {
    if (this.#peers.size < MAX_PEERS) this.#peers.add(replica);
    const peer = this.#peers.has(replica) ? replica : OTHERS;
    const name = `${kind} ${outcome} ${peer}`;
    const counted = this.#counts.get(name) ?? { kind, peer, outcome, count: 0 };
    counted.count += 1;
    this.#counts.set(name, counted);
  }

  all(): TransferCount[] {
    return [...this.#counts.values()];
  }
}
