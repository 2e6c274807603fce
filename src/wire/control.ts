/**
 * Router ⇄ replica over one WebSocket that the replica opens. Control frames are JSON text, residency frames are binary (see
 * docs/protocol.md). Everything a replica says is parsed here before the pool believes it, and the other way round.
 */
import { z } from "zod";
import type { Heartbeat, HelloFrame, RunningRequest } from "../pool/frames.ts";
import type { Capacity } from "../pool/replica.ts";
import { TEMPLATE_ORDERS } from "../prefix/segment.ts";
import { attempt, count, leaseId, name, why } from "./frame-fields.ts";
import { LeaseFrame, leaseFrameOf } from "./lease-frame.ts";

export const PROTOCOL_VERSION = 1;
/** Close codes of ours; what follows is in the close reason. */
export const CLOSE = { refused: 4000, replaced: 4001, silent: 4002 } as const;

const HashSpecShape = z.object({
  version: z.number().int(),
  schedule: z
    .array(
      z.object({
        untilBytes: z.number().positive().nullable(),
        segmentBytes: z
          .number()
          .int()
          .min(64)
          .max(1 << 20),
      }),
    )
    .min(1)
    .max(8),
  order: z.enum(TEMPLATE_ORDERS),
}) satisfies z.ZodType<HelloFrame["hashSpec"]>;

const Running = z.object({
  id: leaseId,
  attempt,
  state: z.enum(["started", "decoding"]),
  outputTokens: count,
}) satisfies z.ZodType<RunningRequest>;
export type Running = z.infer<typeof Running>;

const CapacityShape = z.object({
  sequences: count.min(1),
  kvTokens: count.min(1),
  blockTokens: count.min(1),
  contextTokens: count.min(1),
  queueLimit: count,
  /** Prompt tokens it computes in one step at most. */
  stepTokens: count.min(1).optional(),
  /** Bytes of text that its vocabulary's longest token stands for. Absent: not known, or its template may leave texts out. */
  longestTokenBytes: count.min(1).optional(),
}) satisfies z.ZodType<Capacity>;

const Load = z.object({
  usedKvTokens: count,
  /** What each of its tiers holds and has room for, tokens. Absent: its engine does not say. */
  tiers: z
    .array(z.object({ tier: z.enum(["device", "host", "disk", "store"]), usedTokens: count, roomTokens: count }))
    .max(4)
    .optional(),
  /** How sure it is of what it announces (src/pool/residency-claim.ts). Absent: it does not say. */
  residency: z.object({ state: z.enum(["exact", "degraded", "predicted"]), why: why.optional() }).optional(),
}) satisfies z.ZodType<Heartbeat["load"]>;
export type ReplicaLoad = z.infer<typeof Load>;

const HelloShape = z.object({
  type: z.literal("hello"),
  protocol: z.number().int(),
  pool: name,
  replica: name,
  /** Start of this life of the replica, ms since 1970: the newest wins. */
  epoch: z.number().int().positive(),
  url: z.url({ protocol: /^https?$/ }).max(512),
  roles: z.array(z.enum(["prefill", "decode"])).min(1),
  /** It sends blocks to other replicas and fetches theirs. Absent: only if it has a single role, which it could not live by otherwise. */
  transfers: z.boolean().optional(),
  /** Replicas that name the same machine share its processors: what runs on one slows the others. Absent: it shares with none. */
  machine: name.optional(),
  model: z.string().min(1).max(128),
  hashSpec: HashSpecShape,
  /** "exact": residency is announced. "predicted": the engine's truth cannot be anchored. */
  anchors: z.enum(["exact", "predicted"]),
  capacity: CapacityShape,
  token: z.string().max(128),
  /** Number of the last residency frame of this epoch. */
  seq: count,
  running: z.array(Running).max(4096),
}) satisfies z.ZodType<HelloFrame>;
export type Hello = z.infer<typeof HelloShape>;

const HeartbeatShape = z.object({
  type: z.literal("heartbeat"),
  seq: count,
  entries: count,
  load: Load,
  running: z.array(Running).max(4096),
}) satisfies z.ZodType<Heartbeat>;

const FromReplica = z.discriminatedUnion("type", [HelloShape, HeartbeatShape, LeaseFrame, z.object({ type: z.literal("drain") })]);
export type FromReplica = z.infer<typeof FromReplica>;

/** Why a pool refuses a replica, one word each; docs/glossary.md says what each means. */
export const REFUSAL_REASONS = [
  "bad_token",
  "protocol",
  "hash_spec",
  "model",
  "pool_full",
  "older_epoch",
  "epoch_ahead",
  "url",
  "wrong_pool",
  "malformed",
  "too_fast",
] as const;
const RefusalReason = z.enum(REFUSAL_REASONS);
export type RefusalReason = z.infer<typeof RefusalReason>;

const FromPool = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("welcome"),
    slot: z.number().int().min(0).max(63),
    /** Of the hello that this answers; absent: of the last one. */
    epoch: z.number().int().positive().optional(),
    /** Base64url; admissions of this epoch are signed with it, from the first heartbeat after this frame on. */
    admissionKey: z.string().max(64),
    poolNowMs: z.number(),
    /** Least time between two announce frames of this replica. */
    intervalMs: z.number().min(1).max(1000),
  }),
  /** The pool has reached the replica at its URL: it gets work. */
  z.object({ type: z.literal("reached") }),
  /** The pool can't reach it there, and sends it nothing until it can. */
  z.object({ type: z.literal("unreached"), message: z.string().max(1_024) }),
  /** It failed every request lately, and gets none for a while. */
  z.object({ type: z.literal("left_out"), message: z.string().max(1_024) }),
  /** Answers a heartbeat: the pool's clock, in which admissions expire. */
  z.object({ type: z.literal("time"), poolNowMs: z.number() }),
  z.object({ type: z.literal("refused"), reason: RefusalReason, message: z.string() }),
  /** Send the residency frames after `afterSeq` again, or everything when they are no longer known or `afterSeq` is null. */
  z.object({ type: z.literal("resync"), afterSeq: count.nullable() }),
  /** The pool's object lost its memory with the socket open: say hello again. */
  z.object({ type: z.literal("rejoin") }),
  z.object({ type: z.literal("cancel"), id: z.string(), attempt: z.number().int() }),
  z.object({ type: z.literal("pace"), intervalMs: z.number().min(1).max(1000) }),
]);
export type FromPool = z.infer<typeof FromPool>;

type Parsed<T> = { ok: true; value: T } | { ok: false; why: string };

function parseFrame<T>(schema: z.ZodType<T>, text: string, byHand: (json: unknown) => T | null = () => null): Parsed<T> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, why: "the frame is no JSON" };
  }
  const known = byHand(json);
  if (known !== null) return { ok: true, value: known };
  const parsed = schema.safeParse(json);
  if (parsed.success) return { ok: true, value: parsed.data };
  const issue = parsed.error.issues[0];
  return { ok: false, why: `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "another shape"}` };
}

export const parseFromReplica = (text: string): Parsed<FromReplica> => parseFrame<FromReplica>(FromReplica, text, leaseFrameOf);
export const parseFromPool = (text: string): Parsed<FromPool> => parseFrame(FromPool, text);
