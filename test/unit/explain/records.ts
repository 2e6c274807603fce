import { decide } from "../../../src/decision/decide.ts";
import type { PoolView, Profile, RequestView } from "../../../src/decision/decision.ts";
import { type DecisionOutcome, explain, type ExplainRecord } from "../../../src/explain/record.ts";
import type { ResidencyClaim } from "../../../src/pool/residency-claim.ts";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";

/** A decision over this view as the pool keeps it, and what came of it. */
export function recordOf(
  view: PoolView,
  asked: RequestView,
  outcome: Partial<DecisionOutcome> = {},
  more: { seenTokens?: number; waitedMs?: number; residency?: ResidencyClaim; profile?: Profile; turn?: number } = {},
): ExplainRecord {
  const { profile = CACHE_AWARE, turn = 0, ...known } = more;
  const decision = decide(view, asked, profile, 0, turn);
  const base = { id: "r", attempt: 1, tenant: "t", decidedAtMs: 5, view, request: asked, profile, draw: 0, turn, ...known };
  const record = explain({ ...base, decision });
  record.outcome = { ...record.outcome, ...outcome };
  return record;
}
