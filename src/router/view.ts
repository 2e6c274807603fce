/** The pool as one request sees it: residency, what leased requests will leave, loads and rates, as the input of a decision. */
import { liveKvTokens } from "../pool/load.ts";
import { isReady, takesRequests } from "../pool/membership.ts";
import type { Replica } from "../pool/replica.ts";
import { type SegmentSchedule, segmentEnds } from "../prefix/segment.ts";
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import type { CandidateView, PoolView } from "../decision/decision.ts";
import { waitThresholdMs } from "../decision/wait-threshold.ts";
import type { PoolState } from "./state.ts";
import { halvesOf, predictedTokensAt } from "../pool/predicted-paths.ts";

/** Ends of a schedule's segments are known up to here. */
const MOST_BYTES = 8 * 1024 * 1024;

/** A function of its key; kept because it takes a while. */
const ENDS = new WeakMap<SegmentSchedule, readonly number[]>();

/** What each replica holds of one prompt; by slot. */
export interface Holdings {
  /** Of the prompt's chain. */
  halves: Uint32Array;
  deviceSegments: Uint16Array;
  overlapSegments: Uint16Array;
  cachedTokens: Uint32Array;
  deviceTokens: Uint32Array;
  memoryTokens: Uint32Array;
  predictedTokens: Uint32Array;
}

/**
 * A view of its own: nothing in it changes afterwards.
 *
 * @param plannedMs by slot, of those before it in line; Infinity: nothing may go there now.
 */
export function viewFor(state: PoolState, holdings: Holdings, plannedMs: ArrayLike<number> | null, nowMs: number): PoolView {
  const candidates = state.membership.replicas.map((replica) => {
    const candidate = loadedView(state, replica, nowMs);
    hold(candidate, holdings);
    candidate.plannedMs = plannedMs?.[replica.slot] ?? 0;
    // Kept free for one who has waited long.
    if (candidate.plannedMs === Infinity) Object.assign(candidate, { plannedMs: 0, eligible: false });
    return candidate;
  });
  return { candidates, meanOutputTokens: state.rates.meanOutputTokens, remotePrefillTokens: state.remotePrefillTokens };
}

/** The replica without what it holds of a prompt. */
export function loadedView(state: PoolState, replica: Replica, nowMs: number): CandidateView {
  const { slot, name, capacity, roles } = replica;
  const load = state.leases.load(slot);
  const rates = state.rates.of(slot);
  const overdueMs = state.leases.prefills.overdueMs(slot, nowMs);
  // Field by field: a literal with another object spread into it takes ten times as long, and this one is made for every replica at every decision.
  const { besideInFlight, besideContextTokens } = besideOf(state, replica);
  return {
    replica: slot,
    name,
    overlapSegments: 0,
    cachedTokens: 0,
    deviceTokens: 0,
    memoryTokens: 0,
    predictedTokens: 0,
    inFlight: load.inFlight,
    contextTokens: load.promptTokens + load.outputTokens,
    besideInFlight,
    besideContextTokens,
    queuedPrefillMs: load.queuedPrefillMs + overdueMs,
    stuckMs: state.leases.prefills.stuckMs(slot, nowMs),
    plannedMs: 0,
    liveKvTokens: liveKvTokens(load),
    outputTokens: load.outputTokens,
    kvTokens: capacity.kvTokens,
    sequences: capacity.sequences,
    queueLimit: capacity.queueLimit,
    // What is overdue moves others away and holds nobody back: where there is no other, nothing is gained by waiting in line.
    holdMs: waitThresholdMs(rates, capacity) + overdueMs,
    rates,
    eligible: takesRequests(replica),
    prefills: isReady(replica) && !roles.includes("decode"),
    decodeOnly: !roles.includes("prefill"),
    // Whoever has one role only lives by it.
    transfers: replica.transfers ?? roles.length === 1,
  };
}

const ALONE = { besideInFlight: 0, besideContextTokens: 0 };

function besideOf({ membership, leases }: PoolState, { slot, machine }: Replica): typeof ALONE {
  if (machine === undefined) return ALONE;
  const beside = { ...ALONE };
  for (const other of membership.replicas) {
    if (other.machine !== machine || other.slot === slot) continue;
    const load = leases.load(other.slot);
    beside.besideInFlight += load.inFlight;
    beside.besideContextTokens += load.promptTokens + load.outputTokens;
  }
  return beside;
}

export function hold(candidate: CandidateView, holdings: Holdings): void {
  const { replica } = candidate;
  candidate.overlapSegments = holdings.overlapSegments[replica] ?? 0;
  candidate.cachedTokens = holdings.cachedTokens[replica] ?? 0;
  candidate.deviceTokens = holdings.deviceTokens[replica] ?? 0;
  candidate.memoryTokens = holdings.memoryTokens[replica] ?? 0;
  candidate.predictedTokens = holdings.predictedTokens[replica] ?? 0;
}

/** Looks the chain up in the index and in the paths of leases. A copy, to keep. */
export function holdingsOf(state: PoolState, chain: BigUint64Array, nowMs: number): Holdings {
  const overlap = state.index.overlap(chain);
  const holdings: Holdings = {
    halves: halvesOf(chain),
    overlapSegments: overlap.segments.slice(),
    deviceSegments: overlap.deviceSegments.slice(),
    cachedTokens: overlap.tokens.slice(),
    deviceTokens: overlap.deviceTokens.slice(),
    memoryTokens: overlap.memoryTokens.slice(),
    predictedTokens: new Uint32Array(MAX_REPLICAS),
  };
  for (const { slot } of state.membership.replicas) followPaths(state, holdings, slot, nowMs);
  return holdings;
}

/** What leased requests will leave on one replica, looked up anew. */
export function followPaths(state: PoolState, holdings: Holdings, slot: number, nowMs: number): void {
  holdings.predictedTokens[slot] = 0;
  const path = state.paths.longest(slot, holdings.halves, holdings.deviceSegments[slot] ?? 0, nowMs);
  if (path === null) return;
  const tokens = predictedTokensAt(path, nearestKnown(state, holdings, path.segments), scheduleEnds(state));
  if (tokens > (holdings.deviceTokens[slot] ?? 0)) holdings.predictedTokens[slot] = tokens;
}

/** The deepest segment up to `most` whose position some replica has announced. */
function nearestKnown(state: PoolState, { overlapSegments, cachedTokens }: Holdings, most: number): { segments: number; tokens: number } {
  let known = { segments: 0, tokens: 0 };
  for (const { slot } of state.membership.replicas) {
    const segments = overlapSegments[slot] ?? 0;
    if (segments <= most && segments > known.segments) known = { segments, tokens: cachedTokens[slot] ?? 0 };
  }
  return known;
}

/** Byte offsets at which the pool's segments end; none as long as no replica has said its spec. */
export function scheduleEnds({ hashSpec }: PoolState): readonly number[] {
  if (hashSpec === null) return [];
  let ends = ENDS.get(hashSpec.schedule);
  if (ends === undefined) ENDS.set(hashSpec.schedule, (ends = [...segmentEnds(hashSpec.schedule, MOST_BYTES)]));
  return ends;
}
