/** One engine process as its pool sees it. */

export type Role = "prefill" | "decode";

/** ready: takes requests. joining: it was not reached at its URL yet, or can't be any more. suspect, draining: nothing new. lost: only in the effect that forgets it. */
export type ReplicaState = "joining" | "ready" | "suspect" | "draining" | "lost";

export interface Capacity {
  /** Requests it computes at once. */
  sequences: number;
  /** Tokens of KV cache on the device. */
  kvTokens: number;
  /** Tokens of one engine block. */
  blockTokens: number;
  /** Longest prompt plus output, tokens. */
  contextTokens: number;
  /** Requests it queues beyond `sequences`. */
  queueLimit: number;
  /** Prompt tokens it computes in one step; absent: not said. */
  stepTokens?: number | undefined;
  /** Bytes of text that its vocabulary's longest token stands for; absent: not said, and no prompt is too long by its bytes. */
  longestTokenBytes?: number | undefined;
}

/** What a replica says of itself at each hello, and its pool keeps as it was said. Another such field stands here and in its schema (wire/control.ts). */
interface ReplicaTraits {
  roles: readonly Role[];
  /** It sends blocks to other replicas and fetches theirs; absent: it does not. */
  transfers?: boolean | undefined;
  /** Replicas that name the same one share its processors; absent: shares with none. */
  machine?: string | undefined;
}

export function traitsOf({ roles, transfers, machine }: ReplicaTraits): ReplicaTraits {
  return { roles, transfers, machine };
}

/** What a replica says of itself when it joins. */
export interface ReplicaHello extends ReplicaTraits {
  name: string;
  /** When this life of the replica began, ms; a later one of the same name wins. */
  epoch: number;
  url: string;
  model: string;
  /** Fingerprint of its hash spec. */
  specFingerprint: string;
  capacity: Capacity;
}

export interface Replica extends ReplicaTraits {
  /** 0 … 63, its number in the index and in leases while it is known. */
  slot: number;
  name: string;
  epoch: number;
  url: string;
  capacity: Capacity;
  state: ReplicaState;
  /** The shell's number for the socket it speaks through; null while there is none. */
  connection: number | null;
  /** When this epoch said its first hello, pool clock. */
  joinedAtMs: number;
  /** Pool clock. */
  lastHeardMs: number;
  /** Pool clock, when its socket closed; null while one is open. */
  closedAtMs: number | null;
  /** It was reached at its URL and has the key under which its admissions are signed: what is sent before would be lost or refused. */
  admitted: boolean;
  /** It asked to be drained; survives being suspect for a while. */
  draining: boolean;
  /** Sequence number of its last announce that was applied; 0 before the first. */
  seq: number;
}
