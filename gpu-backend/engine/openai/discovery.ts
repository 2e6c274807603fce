/** What a server that speaks OpenAI's API says of itself: its kind, model, context, template and tokenizer. */
import { z } from "zod";
import type { LinkFailure, ServerLink } from "./server-link.ts";

/** other: nothing is known beyond the API that all share. */
export type ServerKind = "vllm" | "llama-cpp" | "other";

export interface Found {
  type: "found";
  kind: ServerKind;
  version: string | null;
  /** Name by which the server knows it. */
  model: string;
  /** All that it lists. */
  models: readonly string[];
  /** The model is an adapter (LoRA) of another one that it serves; then its name. */
  adapter: string | null;
  contextTokens: number | null;
  /** Of one prompt with one answer each; null: not said. */
  sequences: number | null;
  /** Jinja source. */
  chatTemplate: string | null;
  /** Whether /tokenize counts prompts. */
  tokenizes: boolean;
  cache: CacheFacts;
}

/** What vLLM's metrics say of its prefix cache; null: not said. */
interface CacheFacts {
  blockTokens: number | null;
  kvTokens: number | null;
  hashAlgorithm: string | null;
}

/** `message`: a sentence that says what to do, without the address and the key. */
type Discovered = Found | { type: "unavailable"; message: string };

const PROBE_MS = 5_000;
/** Others may be computed first. */
const COMPLETION_MS = 30_000;
const MAX_TEMPLATE = 1_000_000;
const size = z.number().int().min(1).optional().catch(undefined);
const text = z.string().min(1).optional().catch(undefined);
/** Shown on a terminal. */
const name = z.string().regex(/^[^\p{Cc}]{1,256}$/u);

const Models = z.object({
  data: z
    .array(
      z.object({
        id: name,
        parent: z.string().nullish(),
        max_model_len: size,
        meta: z.object({ n_ctx: size }).optional().catch(undefined),
      }),
    )
    .min(1)
    .max(10_000),
});
/** vLLM's. */
const Version = z.object({ version: name });
/** llama.cpp's. */
const Props = z.object({
  default_generation_settings: z.object({ n_ctx: size }).optional().catch(undefined),
  total_slots: size,
  chat_template: text,
  build_info: name.optional().catch(undefined),
});
const Usage = z.object({ usage: z.object({ prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish() }) });
const Tokenized = z.object({
  tokens: z.array(z.number().int().min(0).max(0xffff_ffff)),
  token_strs: z.array(z.string()).nullish().catch(null),
});

export async function discover(link: ServerLink, wanted: string | null): Promise<Discovered> {
  const listed = await link.call({ path: "/v1/models", ms: PROBE_MS });
  if (listed.type === "failed") return unavailable(failureSentence(listed));
  if (listed.status === 401 || listed.status === 403) {
    return unavailable("The engine's server refuses the key: set WARMPATH_ENGINE_KEY to one that it takes.");
  }
  const models = Models.safeParse(listed.body);
  if (listed.status !== 200 || !models.success) {
    return unavailable(`The engine's server does not list its models: GET /v1/models gave ${listed.status}. Check WARMPATH_ENGINE_URL.`);
  }
  const names = models.data.data.map(({ id }) => id);
  const listing = models.data.data.find(({ id }) => wanted === null || id === wanted);
  if (listing === undefined) {
    const some = names.slice(0, 5).join(", ");
    return unavailable(`The engine's server has no model ${JSON.stringify(wanted)} (WARMPATH_ENGINE_MODEL); it has ${some}.`);
  }
  const [version, props] = await Promise.all([read(link, "/version", Version), read(link, "/props", Props)]);
  const kind = props !== null && props.default_generation_settings !== undefined ? "llama-cpp" : version === null ? "other" : "vllm";
  const context = kind === "llama-cpp" ? props?.default_generation_settings?.n_ctx : listing.max_model_len;
  const chatTemplate = kind === "llama-cpp" ? (props?.chat_template ?? null) : null;
  return {
    type: "found",
    kind,
    version: (kind === "llama-cpp" ? props?.build_info : version?.version) ?? null,
    model: listing.id,
    models: names,
    adapter: kind === "vllm" && listing.parent != null ? listing.id : null,
    contextTokens: context ?? listing.max_model_len ?? listing.meta?.n_ctx ?? null,
    sequences: props?.total_slots ?? null,
    chatTemplate: chatTemplate !== null && chatTemplate.length <= MAX_TEMPLATE ? chatTemplate : null,
    cache: kind === "vllm" ? await cacheFacts(link) : NO_FACTS,
    tokenizes: (await tokenize(link, listing.id, { text: "Hello", opens: true }, PROBE_MS)) !== null,
  };
}

const NO_FACTS: CacheFacts = { blockTokens: null, kvTokens: null, hashAlgorithm: null };

/** Of `vllm:cache_config_info{block_size="16",num_gpu_blocks="1000",…}`; of several engines behind one server the first. */
async function cacheFacts(link: ServerLink): Promise<CacheFacts> {
  const answer = await link.call({ path: "/metrics", ms: PROBE_MS });
  if (answer.type === "failed" || answer.status !== 200) return NO_FACTS;
  const labels = /^vllm:cache_config_info\{([^\n]*)\}/m.exec(answer.text)?.[1] ?? "";
  const label = (name: string): string | null => new RegExp(`(?:^|,)${name}="([^"]{1,64})"`).exec(labels)?.[1] ?? null;
  const whole = (name: string): number | null => size.parse(Number(label(name) ?? NaN)) ?? null;
  const [blockTokens, blocks] = [whole("block_size"), whole("num_gpu_blocks")];
  const kvTokens = whole("kv_cache_size_tokens") ?? (blockTokens === null || blocks === null ? null : blockTokens * blocks);
  return { blockTokens, kvTokens, hashAlgorithm: label("prefix_caching_hash_algo") };
}

/** What one answer of one token shows; null: the server does not complete a text. */
export interface CompletionFacts {
  /** Whether `usage` says what was cached. */
  reportsCached: boolean;
}

/** Costs the server a prompt and an answer of a token. */
export async function tryCompletion(link: ServerLink, model: string): Promise<CompletionFacts | null> {
  const answer = await link.call({ path: "/v1/completions", body: { model, prompt: "Hello", max_tokens: 1 }, ms: COMPLETION_MS });
  if (answer.type === "failed" || answer.status !== 200) return null;
  const usage = Usage.safeParse(answer.body);
  return { reportsCached: usage.success && usage.data.usage.prompt_tokens_details?.cached_tokens != null };
}

/** `opens`: it begins the prompt, so that the server puts before it what its model wants there. */
interface Piece {
  text: string;
  opens: boolean;
}

/** Null: the server does not tokenize, or not in time. */
export async function tokenize(link: ServerLink, model: string, piece: Piece, ms: number): Promise<number[] | null> {
  return (await askTokens(link, model, piece, ms, false))?.tokens ?? null;
}

/** As `tokenize`; `texts`: each token as its vocabulary spells it. vLLM's. */
export async function tokenTexts(
  link: ServerLink,
  model: string,
  piece: Piece,
  ms: number,
): Promise<{ tokens: number[]; texts: string[] } | null> {
  const answer = await askTokens(link, model, piece, ms, true);
  return answer?.token_strs?.length === answer?.tokens.length && answer?.token_strs != null
    ? { tokens: answer.tokens, texts: answer.token_strs }
    : null;
}

/** Both known shapes of /tokenize are asked for at once: each server reads its own. */
async function askTokens(link: ServerLink, model: string, { text: prompt, opens }: Piece, ms: number, withTexts: boolean) {
  const vllm = { model, prompt, add_special_tokens: opens, ...(withTexts ? { return_token_strs: true } : {}) };
  const llamaCpp = { content: prompt, add_special: opens, parse_special: true };
  const answer = await link.call({ path: "/tokenize", body: { ...vllm, ...llamaCpp }, ms });
  if (answer.type === "failed" || answer.status !== 200) return null;
  return Tokenized.safeParse(answer.body).data ?? null;
}

/** Of a prompt of our own. failing: the server answers, and with an error of its own; whoever asks for more gets the same. unknown: it does not answer in time. */
export async function tryServing(link: ServerLink, model: string, ms: number): Promise<"serves" | "failing" | "unknown"> {
  const answer = await link.call({ path: "/v1/completions", body: { model, prompt: "Hello", max_tokens: 1 }, ms });
  if (answer.type === "failed") return "unknown";
  return answer.status >= 500 && answer.status !== 503 ? "failing" : "serves";
}

async function read<T>(link: ServerLink, path: string, schema: z.ZodType<T>): Promise<T | null> {
  const answer = await link.call({ path, ms: PROBE_MS });
  return answer.type === "answer" && answer.status === 200 ? (schema.safeParse(answer.body).data ?? null) : null;
}

function failureSentence({ why }: LinkFailure): string {
  if (why === "timeout") return `The engine's server did not answer within ${PROBE_MS / 1_000} s (WARMPATH_ENGINE_URL).`;
  return "The engine's server can't be reached: start it, or mend WARMPATH_ENGINE_URL.";
}

function unavailable(message: string): Discovered {
  return { type: "unavailable", message };
}
