/** The embedded engine's settings from its environment. */
import { z } from "zod";
import { type Environment, type EnvironmentRead, readEnvironment } from "../../environment.ts";
import type { LlamaEngineOptions } from "./engine.ts";

const Settings = z.object({
  /** A GGUF file with a byte-level BPE tokenizer. */
  WARMPATH_MODEL: z.string().min(1),
  /** The id that clients use; by default made of the name in the file. */
  WARMPATH_MODEL_NAME: z
    .string()
    .regex(/^[ -~]{1,128}$/, "a model's name has 1 to 128 printable ASCII characters")
    .optional(),
  WARMPATH_SEQUENCES: z.coerce.number().int().min(1).max(64).default(4),
  /** By default what the model was made for, as far as memory reaches. */
  WARMPATH_CONTEXT_TOKENS: z.coerce.number().int().min(128).max(131_072).optional(),
  /** Where no context is named: how much memory the KV of all sequences may take. */
  WARMPATH_KV_BYTES: z.coerce.number().int().min(0).optional(),
  WARMPATH_BLOCK_TOKENS: z.coerce.number().int().min(8).max(256).default(32),
  WARMPATH_QUEUE_LIMIT: z.coerce.number().int().min(0).max(4_096).default(32),
  /** How much a grammar allows where the schema sets no bound: wide for trained models, short for one that ends by chance. */
  WARMPATH_GRAMMAR_LIMITS: z.enum(["wide", "short"]).default("wide"),
});

export function readSettings(environment: Environment): EnvironmentRead<LlamaEngineOptions> {
  const read = readEnvironment(Settings, environment);
  if (!read.ok) return read;
  const values = read.values;
  return {
    ok: true,
    values: {
      modelPath: values.WARMPATH_MODEL,
      ...(values.WARMPATH_MODEL_NAME === undefined ? {} : { modelName: values.WARMPATH_MODEL_NAME }),
      sequences: values.WARMPATH_SEQUENCES,
      contextTokens: values.WARMPATH_CONTEXT_TOKENS ?? null,
      kvBytes: values.WARMPATH_KV_BYTES ?? null,
      blockTokens: values.WARMPATH_BLOCK_TOKENS,
      queueLimit: values.WARMPATH_QUEUE_LIMIT,
      grammarLimits: values.WARMPATH_GRAMMAR_LIMITS,
    },
  };
}
