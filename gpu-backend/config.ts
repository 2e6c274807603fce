/** The only reader of process.env in the replica. */
import { z } from "zod";
import type { S3Location } from "./blocks/s3-bucket.ts";

const Environment = z.object({
  /** ws: or wss: address of the edge, as wss://HOST/announce/POOL. */
  WARMPATH_JOIN: z.url({ protocol: /^wss?$/ }),
  WARMPATH_JOIN_TOKEN: z.string().min(8),
  WARMPATH_REPLICA: z.string().regex(/^[0-9A-Za-z._-]{1,64}$/),
  WARMPATH_MODEL: z.string().min(1),
  /** Where the edge reaches this replica; by default the address it listens on. */
  WARMPATH_URL: z.url().optional(),
  WARMPATH_HOST: z.string().default("127.0.0.1"),
  WARMPATH_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  WARMPATH_SEQUENCES: z.coerce.number().int().min(1).max(64).default(4),
  WARMPATH_CONTEXT_TOKENS: z.coerce.number().int().min(128).max(131_072).default(8_192),
  WARMPATH_BLOCK_TOKENS: z.coerce.number().int().min(8).max(256).default(32),
  WARMPATH_QUEUE_LIMIT: z.coerce.number().int().min(0).max(4_096).default(32),
  /** How much a grammar allows where the schema sets no bound: wide for trained models, short for one that ends by chance. */
  WARMPATH_GRAMMAR_LIMITS: z.enum(["wide", "short"]).default("wide"),
  /** prefill: computes prompts for others only; decode: has long prompts computed elsewhere where that pays. */
  WARMPATH_ROLES: z.enum(["prefill", "decode", "both"]).default("both"),
  /** Replicas that are given the same name share this machine's processors. */
  WARMPATH_MACHINE: z
    .string()
    .regex(/^[0-9A-Za-z._-]{1,64}$/)
    .optional(),
  /** After SIGTERM, what runs here has so long to end. */
  WARMPATH_DRAIN_SECONDS: z.coerce.number().min(0).max(86_400).default(60),
  /** KV blocks in this process's memory; 0 = no host tier. */
  WARMPATH_HOST_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(128 * 1024 * 1024),
  /** Where KV blocks lie on disk; absent = no disk tier. The directory belongs to this replica alone. */
  WARMPATH_DISK_DIRECTORY: z.string().min(1).optional(),
  WARMPATH_DISK_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(1024 * 1024 * 1024),
  /** An S3 API; absent = no store tier. */
  WARMPATH_STORE_URL: z.url({ protocol: /^https?$/ }).optional(),
  WARMPATH_STORE_BUCKET: z.string().min(1).default("warmpath"),
  WARMPATH_STORE_REGION: z.string().min(1).default("auto"),
  WARMPATH_STORE_PREFIX: z.string().default(""),
  WARMPATH_STORE_KEY_ID: z.string().default(""),
  WARMPATH_STORE_SECRET: z.string().default(""),
  WARMPATH_STORE_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(16 * 1024 * 1024 * 1024),
});

export interface ReplicaConfig {
  join: string;
  joinToken: string;
  pool: string;
  name: string;
  modelPath: string;
  url: string | null;
  host: string;
  port: number;
  sequences: number;
  contextTokens: number;
  blockTokens: number;
  queueLimit: number;
  grammarLimits: "wide" | "short";
  roles: ("prefill" | "decode")[];
  /** Null: shares its processors with no other replica. */
  machine: string | null;
  drainMs: number;
  tiers: TierConfig;
}

export interface TierConfig {
  hostBytes: number;
  disk: { directory: string; budgetBytes: number } | null;
  store: (S3Location & { prefix: string; budgetBytes: number }) | null;
}

export type ConfigResult = { ok: true; config: ReplicaConfig } | { ok: false; message: string };

function tiersOf(values: z.infer<typeof Environment>): TierConfig {
  const { WARMPATH_DISK_DIRECTORY: directory, WARMPATH_STORE_URL: endpoint } = values;
  return {
    hostBytes: values.WARMPATH_HOST_BYTES,
    disk: directory === undefined || values.WARMPATH_DISK_BYTES === 0 ? null : { directory, budgetBytes: values.WARMPATH_DISK_BYTES },
    store:
      endpoint === undefined
        ? null
        : {
            endpoint,
            bucket: values.WARMPATH_STORE_BUCKET,
            region: values.WARMPATH_STORE_REGION,
            prefix: values.WARMPATH_STORE_PREFIX,
            accessKeyId: values.WARMPATH_STORE_KEY_ID,
            secretAccessKey: values.WARMPATH_STORE_SECRET,
            budgetBytes: values.WARMPATH_STORE_BYTES,
          },
  };
}

export function readConfig(environment: NodeJS.ProcessEnv): ConfigResult {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { ok: false, message: `${issue?.path.join(".") ?? "environment"}: ${issue?.message ?? "not understood"}` };
  }
  const values = parsed.data;
  const pool = /\/announce\/([0-9A-Za-z._-]{1,64})$/.exec(new URL(values.WARMPATH_JOIN).pathname)?.[1];
  if (pool === undefined) return { ok: false, message: "WARMPATH_JOIN: must end in /announce/POOL" };
  return {
    ok: true,
    config: {
      join: values.WARMPATH_JOIN,
      joinToken: values.WARMPATH_JOIN_TOKEN,
      pool,
      name: values.WARMPATH_REPLICA,
      modelPath: values.WARMPATH_MODEL,
      url: values.WARMPATH_URL ?? null,
      host: values.WARMPATH_HOST,
      port: values.WARMPATH_PORT,
      sequences: values.WARMPATH_SEQUENCES,
      contextTokens: values.WARMPATH_CONTEXT_TOKENS,
      blockTokens: values.WARMPATH_BLOCK_TOKENS,
      queueLimit: values.WARMPATH_QUEUE_LIMIT,
      grammarLimits: values.WARMPATH_GRAMMAR_LIMITS,
      roles: values.WARMPATH_ROLES === "both" ? ["prefill", "decode"] : [values.WARMPATH_ROLES],
      machine: values.WARMPATH_MACHINE ?? null,
      drainMs: values.WARMPATH_DRAIN_SECONDS * 1_000,
      tiers: tiersOf(values),
    },
  };
}
