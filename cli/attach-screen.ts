/** What `warmpath replica` says of the server that it found. */
import type { CompletionFacts, Found } from "../gpu-backend/engine/openai/discovery.ts";

export interface Attached {
  found: Found;
  completion: CompletionFacts;
  pool: string;
  join: string;
  name: string;
}

interface Missing {
  /** A flag, a setting or a route of the server. */
  what: string;
  brings: string;
}

const LABEL = 10;

/** One screen. It has neither the token nor the key. */
export function attachScreen(attached: Attached): string {
  const { found, pool, join, name } = attached;
  const { blockTokens, kvTokens, hashAlgorithm } = found.cache;
  const cache = [
    kvTokens === null ? "size not said" : `${kvTokens} tokens`,
    ...(blockTokens === null ? [] : [`blocks of ${blockTokens}`]),
    ...(hashAlgorithm === null ? [] : [hashAlgorithm]),
  ];
  const lines = [
    [
      "Engine",
      `${found.kind === "other" ? "a server that speaks OpenAI's API" : found.kind}${found.version === null ? "" : ` ${found.version}`}`,
    ],
    ["Model", `${found.model}${found.models.length > 1 ? ` (of ${found.models.length})` : ""}, ${contextText(found)}`],
    ["Cache", cache.join(", ")],
    ["Residency", "predicted; KV events are not followed yet"],
    ["Pool", `${pool} at ${new URL(join).host}, as ${name}`],
  ];
  const missing = missingOf(attached);
  const rows = missing.map(({ what, brings }) => `    ${what}: ${brings}`);
  return `\n${lines.map(([label = "", text = ""]) => `  ${label.padEnd(LABEL)}${text}`).join("\n")}\n${rows.length === 0 ? "" : `\n  Missing, and what it would bring:\n${rows.join("\n")}\n`}\n`;
}

function contextText({ contextTokens }: Found): string {
  return contextTokens === null ? "context not said" : `context ${contextTokens} tokens`;
}

function missingOf({ found, completion }: Attached): Missing[] {
  const missing: Missing[] = [];
  if (!completion.reportsCached) {
    const what = found.kind === "vllm" ? "--enable-prompt-tokens-details" : "usage.prompt_tokens_details.cached_tokens";
    missing.push({ what, brings: "what was cached of each prompt, for clients, and to correct predictions" });
  }
  if (!found.tokenizes) {
    missing.push({ what: "/tokenize", brings: "exact lengths, and texts of clients that can't spell the model's control tokens" });
  }
  if (found.kind !== "vllm") missing.push({ what: "cache_salt", brings: "tenants that can't find out by time what others asked" });
  if (found.kind === "other")
    missing.push({ what: "structured output", brings: "answers that follow a schema; they are refused until then" });
  return missing;
}
