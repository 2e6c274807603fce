/**
 * What a replica says of itself and its work, as its pool takes it. The schemas in src/wire, which read it off the socket, must satisfy these
 * types. Of its numbers nothing is believed yet (src/router/lease-report.ts).
 */
import type { HashSpec } from "../prefix/segment.ts";
import type { SegmentHash } from "../prefix/chain.ts";
import type { LeaseKey } from "./lease.ts";
import type { ReplicaHello } from "./replica.ts";
import type { ResidencyClaim } from "./residency-claim.ts";
import type { TierFill } from "./tier-fill.ts";

/** Its introduction, at the start of a socket and of an epoch. */
export interface HelloFrame extends Omit<ReplicaHello, "name" | "specFingerprint"> {
  /** Its name. */
  replica: string;
  /** The version may be one that this pool does not speak. */
  hashSpec: Omit<HashSpec, "version"> & { version: number };
  /** What it computes already. */
  running: readonly LeaseKey[];
  /** Of its last residency frame. */
  seq: number;
}

/** A request that it computes. */
export interface RunningRequest extends LeaseKey {
  /** So far; absent: not said. */
  outputTokens?: number;
}

/** That it lives, and how it stands. */
export interface Heartbeat {
  /** Sequence number of the last residency frame, and how many entries the replica counts. */
  seq: number;
  entries: number;
  load: {
    usedKvTokens: number;
    /** Absent: its engine does not say. */
    tiers?: readonly TierFill[] | undefined;
    residency?: ResidencyClaim | undefined;
  };
  running: readonly RunningRequest[];
}

/** How a transfer went, by the receiver's own word. */
export interface TransferReport {
  kind: "prefill" | "pull";
  /** Name of the sender. */
  replica: string;
  /** fallback: it came to nothing, or not in time, and the receiver computed instead. */
  outcome: "used" | "fallback";
  why?: string | undefined;
  bytes: number;
  /** From asking to the last byte; of a prefill, the wait for it not counted. */
  ms: number;
  tokens: number;
}

/** One step in a lease's life. */
export type LeaseReport = { event: "started" | "refused"; id: string; attempt: number } | DecodingReport | SettledReport;

/** The first token is there. */
export interface DecodingReport extends LeaseKey {
  event: "decoding";
  promptTokens: number;
  /** What was not computed: on its device, loaded or fetched. */
  cachedTokens: number;
  /** From its start to the first token, loads and transfer included. */
  prefillMs: number;
  loadMs?: number | undefined;
  loadedTokens?: number | undefined;
  transfer?: TransferReport | undefined;
}

export interface SettledReport extends LeaseKey {
  event: "settled";
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
  /** From the first token to the last; absent: not measured. */
  decodeMs?: number | undefined;
}

/** That it holds a segment, or no longer. */
export interface ResidencyEntry {
  hash: SegmentHash;
  /** Of the prompt, up to the segment's end. */
  tokens: number;
  /** As src/residency/tiers.ts has them; 0: gone. */
  tierBits: number;
}

/** A delta of what it holds, or one of the frames that name all of it. */
export interface ResidencyFrame {
  kind: "delta" | "full";
  /** Of the frames of one resync. */
  first: boolean;
  last: boolean;
  /** One more than that of the delta before; the same in all frames of one resync. */
  seq: number;
  entries: readonly ResidencyEntry[];
}
