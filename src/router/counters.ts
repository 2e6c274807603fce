/** What a pool has counted since its object began: a subscriber to its events (events.ts), read by metrics.ts and the card. */
import type { PoolEvent } from "./events.ts";

/** A first token that came so many times later or sooner than predicted is counted. */
const MISJUDGED = 5;

interface PoolCounters {
  decisions: number;
  waited: number;
  refused: number;
  retries: number;
  promptTokens: number;
  predictedCachedTokens: number;
  reportedCachedTokens: number;
  outputTokens: number;
  settled: number;
  released: number;
  expired: number;
  resyncs: number;
  /** First tokens that were predicted, and of these, those that came more than 5 times later or sooner. */
  firstTokens: number;
  misjudged: number;
  /** Planned by decisions. */
  remotePrefills: number;
  pulls: number;
  /** As receivers reported them. */
  transfersUsed: number;
  transfersFallenBack: number;
  /** Written for the checkpoint. */
  checkpointRows: number;
  checkpointBytes: number;
  /** Reports of leases that their replica does not have. */
  strayReports: number;
  /** Reports with a number that can't be. */
  cutReports: number;
  /** Attempts that a replica failed, by the edges' word, and how often one was left out for it. */
  failures: number;
  leftOut: number;
}

export function noneYet(): PoolCounters {
  return {
    decisions: 0,
    waited: 0,
    refused: 0,
    retries: 0,
    promptTokens: 0,
    predictedCachedTokens: 0,
    reportedCachedTokens: 0,
    outputTokens: 0,
    settled: 0,
    released: 0,
    expired: 0,
    resyncs: 0,
    firstTokens: 0,
    misjudged: 0,
    remotePrefills: 0,
    pulls: 0,
    transfersUsed: 0,
    transfersFallenBack: 0,
    checkpointRows: 0,
    checkpointBytes: 0,
    strayReports: 0,
    cutReports: 0,
    failures: 0,
    leftOut: 0,
  };
}

export function count(counters: PoolCounters, event: PoolEvent): void {
  switch (event.kind) {
    case "placed":
      counters.decisions++;
      counters.predictedCachedTokens += event.answer.cachedTokens;
      if (event.retries) counters.retries++;
      if (event.answer.prefill !== undefined) counters.remotePrefills++;
      if (event.answer.pull !== undefined) counters.pulls++;
      return;
    case "waiting":
      counters.waited++;
      return;
    case "refused":
      counters.refused++;
      return;
    case "firstToken": {
      counters.firstTokens++;
      const times = event.tookMs / Math.max(1, event.predictedMs);
      if (times > MISJUDGED || times < 1 / MISJUDGED) counters.misjudged++;
      return;
    }
    case "transferred":
      if (event.transfer.outcome === "used") counters.transfersUsed++;
      else counters.transfersFallenBack++;
      return;
    case "settled":
      counters.settled++;
      counters.promptTokens += event.promptTokens;
      counters.reportedCachedTokens += event.cachedTokens;
      counters.outputTokens += event.outputTokens;
      return;
    case "released":
      counters.released++;
      return;
    case "expired":
      counters.expired++;
      return;
    default:
      countRest(counters, event);
  }
}

/** Of replicas, and of what they report. */
function countRest(counters: PoolCounters, event: PoolEvent): void {
  switch (event.kind) {
    case "failed":
      counters.failures++;
      return;
    case "leftOut":
      counters.leftOut++;
      return;
    case "resync":
      counters.resyncs++;
      return;
    case "strayReport":
      counters.strayReports++;
      return;
    case "cutReport":
      counters.cutReports++;
      return;
    case "checkpointed":
      counters.checkpointRows = event.rows;
      counters.checkpointBytes = event.bytes;
  }
}
