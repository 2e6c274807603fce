/**
 * What the simulator asks of a peer's policy. Every peer gets the same facts about each replica, and books nothing itself: the simulator
 * does it for all, in the same way. Warmpath is not asked through this: it is the product's own pool.
 */
import type { Rule } from "../src/decision/policy.ts";
import type { EngineConstants } from "./constants.ts";

/** The engine model that predicting baselines get: its true constants, so that no peer loses by a bad fit. */
interface KnownConstants extends Pick<
  EngineConstants,
  | "prefillMsPerToken"
  | "attentionMsPerPair"
  | "decodeMsPerSequence"
  | "decodeMsPerContextToken"
  | "stepTokens"
  | "kvTokens"
  | "maxSequences"
  | "blockTokens"
> {
  /** What an engine step takes with nothing in it; ms. */
  stepMs: number;
  /** ms per token loaded from host memory; Infinity where there is no such tier. */
  hostLoadMsPerToken: number;
  /** ms per token loaded from disk; Infinity where there is no such tier. */
  diskLoadMsPerToken: number;
}

/**
 * What a policy knows of one replica when a request arrives: exact as of the last event that reached the router. Tokens are prompt or
 * context tokens; counts of requests are as the router booked them, at the moment it chose.
 */
export interface ReplicaSight extends KnownConstants {
  /** Slot; not an index into `sights`. */
  replica: number;
  name: string;

  /**
   * Leading tokens of this prompt held without a gap on the device, or prompt of a request in flight there and so soon on it: some peers index
   * what they route, others what was announced, and every peer gets both. Whole blocks.
   */
  deviceTokens: number;
  /** The same, counting device and host: `deviceTokens` or more. */
  hostTokens: number;
  /** The same, counting device, host and disk: `hostTokens` or more. */
  diskTokens: number;
  /** The same, counting only blocks that requests in flight there use: what this request would share with them. */
  liveOverlapTokens: number;

  /** Requests in flight with a first token. */
  runningRequests: number;
  /** Requests in flight without one: waiting for the engine, or being prefilled. */
  waitingRequests: number;
  /** Prompt tokens not cached when they were routed, of requests in flight without a first token. */
  activePrefillTokens: number;
  /** Attention pairs of the same prefills: the sum of u * (h + u/2), u uncached and h cached tokens of each. */
  activePrefillPairs: number;
  /** Context tokens (prompt and output so far) of requests in flight with a first token; a shared prefix counts for each. */
  activeDecodeTokens: number;

  /** Of its `kvTokens`, taken: by requests in flight, and by prefixes cached for nobody in particular. 0 … `kvTokens`. */
  kvUsedTokens: number;
  /** Of these, held by requests in flight, prompts from the moment they were routed; a shared prefix once. 0 … `kvUsedTokens`. */
  liveKvTokens: number;
  /** All tokens that the index knows for it, of any tier. */
  treeTokens: number;
}

/** A request as a router sees it: the length of its answer is in nobody's hands. */
export interface RoutedRequest {
  id: number;
  /** Simulated time; ms. */
  arrivedAtMs: number;
  /** 1 or more. */
  promptTokens: number;
  /** Hashes of its segments, front first, each of all that precedes it too, so that equal hashes are equal prefixes. */
  chain: BigUint64Array;
  /** Whose conversation it belongs to; null: it does not say. */
  session: string | null;
}

/**
 * A peer's rule: the product's contract of a policy's logic over what the peer's router knows. Peers hold no request back, and may keep state.
 * A rule throws a RangeError when there is no replica.
 */
export interface PeerPolicy extends Rule<RoutedRequest, ReplicaSight> {
  readonly name: string;
}

/** What most peers call the load of a replica. */
export function inFlightRequests(sight: ReplicaSight): number {
  return sight.runningRequests + sight.waitingRequests;
}
