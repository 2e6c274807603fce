/** A replica's settings from its environment. An engine reads its own settings itself (engine/NAME/settings.ts). */
import { z } from "zod";
import type { S3Location } from "./blocks/s3-bucket.ts";
import { type Environment, readEnvironment } from "./environment.ts";

const Variables = z.object({
  /** ws: or wss: address of the edge, as wss://HOST/announce/POOL. */
  WARMPATH_JOIN: z.url({ protocol: /^wss?$/ }),
  WARMPATH_JOIN_TOKEN: z.string().min(8),
  WARMPATH_REPLICA: z.string().regex(/^[0-9A-Za-z._-]{1,64}$/),
  /** Where the edge reaches this replica; by default the address it listens on. */
  WARMPATH_URL: z.url().optional(),
  WARMPATH_HOST: z.string().default("127.0.0.1"),
  WARMPATH_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  /** prefill: computes prompts for others only; decode: has long prompts computed elsewhere where that pays. */
  WARMPATH_ROLES: z.enum(["prefill", "decode", "both"]).default("both"),
  /** Replicas that are given the same name share this machine's processors. */
  WARMPATH_MACHINE: z
    .string()
    .regex(/^[0-9A-Za-z._-]{1,64}$/)
    .optional(),
  /** Time that running requests have to end after SIGTERM. */
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
  url: string | null;
  host: string;
  port: number;
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

function tiersOf(values: z.infer<typeof Variables>): TierConfig {
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

export function readConfig(environment: Environment): ConfigResult {
  const read = readEnvironment(Variables, environment);
  if (!read.ok) return read;
  const { values } = read;
  const pool = /\/announce\/([0-9A-Za-z._-]{1,64})$/.exec(new URL(values.WARMPATH_JOIN).pathname)?.[1];
  if (pool === undefined) return { ok: false, message: "WARMPATH_JOIN: must end in /announce/POOL" };
  return {
    ok: true,
    config: {
      join: values.WARMPATH_JOIN,
      joinToken: values.WARMPATH_JOIN_TOKEN,
      pool,
      name: values.WARMPATH_REPLICA,
      url: values.WARMPATH_URL ?? null,
      host: values.WARMPATH_HOST,
      port: values.WARMPATH_PORT,
      roles: values.WARMPATH_ROLES === "both" ? ["prefill", "decode"] : [values.WARMPATH_ROLES],
      machine: values.WARMPATH_MACHINE ?? null,
      drainMs: values.WARMPATH_DRAIN_SECONDS * 1_000,
      tiers: tiersOf(values),
    },
  };
}
