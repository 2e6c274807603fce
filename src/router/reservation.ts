/** What a decision takes and gives: leases on the replicas it names, the rights to use them, and the answer to the edge. */
import { type PredictedFirstToken, prefillLease, type ReserveOutcome } from "../pool/lease.ts";
import type { Replica } from "../pool/replica.ts";
import type { PlannedTransfer, ScoredCandidate } from "../decision/decision.ts";
import { firstTokenMs, workUntilFirstToken } from "../decision/first-token.ts";
import type { PoolState } from "./state.ts";
import { scheduleEnds } from "./view.ts";
import type { AdmissionClaims, DecideRequest, ReplicaAnswer, TicketClaims, TransferSource } from "./question.ts";
import { ADMISSION_LIVES_MS } from "../limits.ts";

export interface Minter {
  /** The admission as text, under the key of this replica's epoch; null when the replica has no key. */
  mint(replica: Replica, claims: AdmissionClaims): string | null;
  /** The ticket as text, under the key of the replica that sends; null when it has no key. */
  mintTicket(sender: Replica, claims: TicketClaims): string | null;
}

/** One attempt at a request. */
export interface Trying {
  request: DecideRequest;
  attempt: number;
  promptTokens: number;
  nowMs: number;
}

interface Choice {
  replica: Replica;
  chosen: ScoredCandidate;
  transfer: PlannedTransfer | null;
}

/** Leases on the chosen replica and, for a remote prefill, on the one that prefills: both or, when the second can't be had, the first alone. Null: nothing was leased. */
export function reserve(state: PoolState, minter: Minter, trying: Trying, { replica, chosen, transfer }: Choice): ReplicaAnswer | null {
  const { request, attempt, nowMs } = trying;
  const { id, salt, path, bodyBytes, digest } = request;
  const expiresAtMs = nowMs + ADMISSION_LIVES_MS;
  const admission = minter.mint(replica, { id, attempt, salt, path, bodyBytes, digest, chainTip: tipOf(request), expiresAtMs });
  if (admission === null) return null;
  const { terms, uncachedTokens, loadedTokens, deviceTokens, cachedTokens } = chosen;
  // A count runs no engine.
  const work: Work =
    request.counts === true
      ? { newTokens: 0, ms: 0, fetched: false }
      : {
          newTokens: uncachedTokens + loadedTokens,
          ms: transfer?.receiverMs ?? terms.prefillMs + terms.loadMs,
          fetched: transfer !== null,
          // What is on lower tiers, or still to be computed by another request, will be announced.
          announcedSegments: cachedTokens > deviceTokens || loadedTokens > 0 || chosen.awaitedTokens > 0 ? 0 : chosen.overlapSegments,
          predicted: { workMs: workUntilFirstToken(chosen, transfer), firstTokenMs: firstTokenMs(chosen, transfer) },
        };
  const awaits = transfer?.kind === "prefill" || request.counts === true;
  if (lease(state, trying, replica, { id, attempt }, { ...work, awaits }).kind !== "reserved") return null;
  const answer: ReplicaAnswer = {
    type: "replica",
    replica: replica.name,
    epoch: replica.epoch,
    url: replica.url,
    attempt,
    admission,
    cachedTokens: deviceTokens + loadedTokens,
    ...(cachedTokens > deviceTokens ? { load: loadedTokens > 0 } : {}),
  };
  const source = transfer === null ? null : sourceOf(state, minter, trying, transfer);
  if (transfer === null || source === null) return answer;
  if (transfer.kind === "prefill")
    return { ...answer, cachedTokens: Math.max(answer.cachedTokens, transfer.senderCachedTokens), prefill: source };
  return { ...answer, cachedTokens: cachedTokens + transfer.tokens, pull: { ...source, tokens: transfer.tokens } };
}

function sourceOf(state: PoolState, minter: Minter, trying: Trying, transfer: PlannedTransfer): TransferSource | null {
  const { request, attempt, nowMs } = trying;
  const { kind } = transfer;
  const sender = state.replica(transfer.replica);
  if (sender === undefined) return null;
  const key = kind === "prefill" ? prefillLease({ id: request.id, attempt }) : { id: request.id, attempt };
  const { salt, digest } = request;
  const claims = { ...key, salt, digest, from: sender.url, chainTip: tipOf(request), kind };
  const ticket = minter.mintTicket(sender, { ...claims, expiresAtMs: nowMs + ADMISSION_LIVES_MS });
  if (ticket === null) return null;
  const work = { newTokens: transfer.senderNewTokens, ms: transfer.senderWorkMs, fetched: false };
  if (kind === "prefill" && lease(state, trying, sender, key, work).kind !== "reserved") return null;
  return { replica: sender.name, url: sender.url, ticket };
}

/** What a lease adds to its replica. */
interface Work {
  newTokens: number;
  ms: number;
  fetched: boolean;
  /** Leading segments that the replica has announced to be on its device. */
  announcedSegments?: number;
  /** Another replica computes its prompt, or nobody reports a first token. */
  awaits?: boolean;
  predicted?: PredictedFirstToken;
}

function lease(
  state: PoolState,
  { request, promptTokens, nowMs }: Trying,
  replica: Replica,
  key: { id: string; attempt: number },
  work: Work,
): ReserveOutcome {
  const { chain, promptBytes, salt, counts = false } = request;
  const { newTokens: uncachedTokens, ms: predictedMs, fetched, awaits = false, announcedSegments = 0, predicted } = work;
  const claim = { replica: replica.slot, nowMs, promptTokens, uncachedTokens, predictedMs, salt, awaits };
  const prompt = counts ? {} : { prompt: { chain, segmentEnds: scheduleEnds(state), bytes: promptBytes } };
  const outcome = state.leases.reserve({ ...key, ...claim, ...prompt, ...(predicted === undefined ? {} : { predicted }) });
  if (outcome.kind === "reserved" && !counts) {
    state.paths.add(outcome.lease, { chain, promptBytes, fetched, announcedSegments }, replica.capacity.kvTokens, nowMs);
  }
  return outcome;
}

function tipOf({ chain }: DecideRequest): string {
  return chain.at(-1)?.toString(16) ?? "";
}
