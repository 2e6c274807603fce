/**
 * The frame by which a replica reports steps of its leases. It comes more often than any other frame, so a well-formed one is checked by hand.
 * The schema decides about all others and words the refusal. A test compares the two on mutated frames.
 */
import { z } from "zod";
import type { LeaseReport as PoolLeaseReport, TransferReport } from "../pool/frames.ts";
import { MOST_ATTEMPTS } from "./admission.ts";
import { isObject, type Json } from "./check.ts";
import { attempt, count, leaseId, millis, MOST_COUNT, MOST_LEASE_ID, MOST_WHY, NAME, name, why } from "./frame-fields.ts";

const MOST_REPORTS = 4_096;
const END_REASONS = ["stop", "length", "cancelled", "error"] as const;
const TRANSFER_KINDS = ["prefill", "pull"] as const;
const TRANSFER_OUTCOMES = ["used", "fallback"] as const;

/** How a transfer went that the edge's headers asked for, as its receiver saw it. */
const Transfer = z.object({
  kind: z.enum(TRANSFER_KINDS),
  /** Name of the sender. */
  replica: name,
  /** fallback: the receiver computed instead. */
  outcome: z.enum(TRANSFER_OUTCOMES),
  why: why.optional(),
  /** Received. */
  bytes: z.number().int().nonnegative(),
  /** From asking to the last byte; of a prefill without the wait for it. Part of `prefillMs`. */
  ms: millis,
  /** Tokens whose blocks came. */
  tokens: count,
}) satisfies z.ZodType<TransferReport>;

/** One step in a lease's life as its replica saw it. */
const LeaseReportShape = z.discriminatedUnion("event", [
  z.object({ event: z.literal("started"), id: leaseId, attempt }),
  z.object({
    event: z.literal("decoding"),
    id: leaseId,
    attempt,
    promptTokens: count,
    /** Not computed for this request: found on its device, loaded or fetched. */
    cachedTokens: count,
    /** From its start to the first token, loads and transfer included. */
    prefillMs: millis,
    /** Of these, what came from lower tiers of its own, and how long that took. */
    loadedTokens: count.optional(),
    loadMs: millis.optional(),
    transfer: Transfer.optional(),
  }),
  z.object({
    event: z.literal("settled"),
    id: leaseId,
    attempt,
    reason: z.enum(END_REASONS),
    promptTokens: count,
    cachedTokens: count,
    outputTokens: count,
    prefillMs: millis,
    decodeMs: millis,
  }),
  z.object({ event: z.literal("refused"), id: leaseId, attempt }),
]) satisfies z.ZodType<PoolLeaseReport>;
export type LeaseReport = z.infer<typeof LeaseReportShape>;

export const LeaseFrame = z.object({ type: z.literal("leases"), reports: z.array(LeaseReportShape).max(MOST_REPORTS) });
export type LeaseFrame = z.infer<typeof LeaseFrame>;

/** The frame as the schema reads it, unknown fields left out; null for every value that the schema refuses. */
export function leaseFrameOf(value: unknown): LeaseFrame | null {
  if (!isObject(value) || value["type"] !== "leases") return null;
  const { reports: given } = value;
  if (!Array.isArray(given) || given.length > MOST_REPORTS) return null;
  const reports: LeaseReport[] = [];
  for (const each of given as unknown[]) {
    const report = reportOf(each);
    if (report === null) return null;
    reports.push(report);
  }
  return { type: "leases", reports };
}

function reportOf(value: unknown): LeaseReport | null {
  if (!isObject(value)) return null;
  const { event, id, attempt: number } = value;
  if (typeof id !== "string" || id.length > MOST_LEASE_ID || !isWhole(number, 1, MOST_ATTEMPTS)) return null;
  switch (event) {
    case "started":
    case "refused":
      return { event, id, attempt: number };
    case "decoding":
      return decodingOf(value, id, number);
    case "settled": {
      const { reason, promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs } = value;
      if (!isOneOf(END_REASONS, reason) || !isCount(promptTokens) || !isCount(cachedTokens) || !isCount(outputTokens)) return null;
      if (typeof prefillMs !== "number" || typeof decodeMs !== "number") return null;
      return { event, id, attempt: number, reason, promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs };
    }
    default:
      return null;
  }
}

function decodingOf(value: Json, id: string, number: number): LeaseReport | null {
  const { promptTokens, cachedTokens, prefillMs, loadedTokens, loadMs, transfer: given } = value;
  if (!isCount(promptTokens) || !isCount(cachedTokens) || typeof prefillMs !== "number") return null;
  const report: LeaseReport = { event: "decoding", id, attempt: number, promptTokens, cachedTokens, prefillMs };
  if (loadedTokens !== undefined) {
    if (!isCount(loadedTokens)) return null;
    report.loadedTokens = loadedTokens;
  }
  if (loadMs !== undefined) {
    if (typeof loadMs !== "number") return null;
    report.loadMs = loadMs;
  }
  if (given !== undefined) {
    const transfer = transferOf(given);
    if (transfer === null) return null;
    report.transfer = transfer;
  }
  return report;
}

function transferOf(value: unknown): TransferReport | null {
  if (!isObject(value)) return null;
  const { kind, replica, outcome, why: reason, bytes, ms, tokens } = value;
  if (!isOneOf(TRANSFER_KINDS, kind) || !isOneOf(TRANSFER_OUTCOMES, outcome)) return null;
  if (typeof replica !== "string" || !NAME.test(replica)) return null;
  if (!isWhole(bytes, 0, Number.MAX_SAFE_INTEGER) || typeof ms !== "number" || !isCount(tokens)) return null;
  const report: TransferReport = { kind, replica, outcome, bytes, ms, tokens };
  if (reason === undefined) return report;
  if (typeof reason !== "string" || reason.length > MOST_WHY) return null;
  return { ...report, why: reason };
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

const isCount = (value: unknown): value is number => isWhole(value, 0, MOST_COUNT);

function isOneOf<Word extends string>(words: readonly Word[], value: unknown): value is Word {
  return words.includes(value as Word);
}
