/** The settings of the adapter to another server, from its environment. */
import { z } from "zod";
import { type Environment, type EnvironmentRead, readEnvironment } from "../../environment.ts";

const Settings = z.object({
  /** The server's base URL, with or without /v1 at its end. */
  WARMPATH_ENGINE_URL: z
    .url({ protocol: /^https?$/ })
    .refine(
      (url) => new URL(url).username === "" && new URL(url).password === "",
      "a key belongs into WARMPATH_ENGINE_KEY, not into the URL",
    ),
  /** Sent as a bearer token to that server alone. */
  WARMPATH_ENGINE_KEY: z
    .string()
    .regex(/^[\x21-\x7e]+$/, "it has characters that no key has")
    .optional(),
  /** By default the first model that the server lists. */
  WARMPATH_ENGINE_MODEL: z.string().min(1).optional(),
  /** A file with the model's chat template in Jinja; by default what the server says. */
  WARMPATH_CHAT_TEMPLATE: z.string().min(1).optional(),
  /** Requests that are given to the server at once. */
  WARMPATH_SEQUENCES: z.coerce.number().int().min(1).max(4_096).default(16),
  WARMPATH_QUEUE_LIMIT: z.coerce.number().int().min(0).max(4_096).default(32),
  /** By default what the server says. */
  WARMPATH_CONTEXT_TOKENS: z.coerce.number().int().min(128).max(16_777_216).optional(),
  /** By default what the server says, else 16. */
  WARMPATH_BLOCK_TOKENS: z.coerce.number().int().min(1).max(4_096).optional(),
  /** What its cache holds; by default what the server says, else one context for each of the sequences. */
  WARMPATH_KV_TOKENS: z.coerce.number().int().min(128).optional(),
});

export interface OpenAiSettings {
  url: string;
  key: string | null;
  model: string | null;
  templatePath: string | null;
  sequences: number;
  queueLimit: number;
  contextTokens: number | null;
  blockTokens: number | null;
  kvTokens: number | null;
}

export function readSettings(environment: Environment): EnvironmentRead<OpenAiSettings> {
  const read = readEnvironment(Settings, environment);
  if (!read.ok) return read;
  const values = read.values;
  return {
    ok: true,
    values: {
      url: values.WARMPATH_ENGINE_URL,
      key: values.WARMPATH_ENGINE_KEY ?? null,
      model: values.WARMPATH_ENGINE_MODEL ?? null,
      templatePath: values.WARMPATH_CHAT_TEMPLATE ?? null,
      sequences: values.WARMPATH_SEQUENCES,
      queueLimit: values.WARMPATH_QUEUE_LIMIT,
      contextTokens: values.WARMPATH_CONTEXT_TOKENS ?? null,
      blockTokens: values.WARMPATH_BLOCK_TOKENS ?? null,
      kvTokens: values.WARMPATH_KV_TOKENS ?? null,
    },
  };
}
