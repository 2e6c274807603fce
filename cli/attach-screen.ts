/** What `warmpath replica` says of the server that it found. */
import type { CompletionFacts, Found } from "../gpu-backend/engine/openai/discovery.ts";

/** Where the engine's KV events come from; or why none are followed, a clause. */
export type ScreenedEvents = { type: "source"; source: { live: string; replay: string | null } } | { type: "none"; why: string };

interface Attached {
  found: Found;
  completion: CompletionFacts;
  events: ScreenedEvents;
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
    ["Residency", residencyText(attached)],
    ["Pool", `${pool} at ${new URL(join).host}, as ${name}`],
  ];
  const missing = missingOf(attached);
  const rows = missing.map(({ what, brings }) => `    ${what}: ${brings}`);
  return `\n${lines.map(([label = "", text = ""]) => `  ${label.padEnd(LABEL)}${text}`).join("\n")}\n${rows.length === 0 ? "" : `\n  Missing, and what it would bring:\n${rows.join("\n")}\n`}\n`;
}

function residencyText({ events, found }: Attached): string {
  if (events.type === "none") return found.kind === "vllm" ? `predicted: ${events.why}` : "predicted";
  return `by KV events from ${events.source.live}`;
}

function contextText({ contextTokens }: Found): string {
  return contextTokens === null ? "context not said" : `context ${contextTokens} tokens`;
}

function missingOf({ found, completion, events }: Attached): Missing[] {
  const missing: Missing[] = [];
  if (found.kind === "vllm" && events.type === "none") {
    missing.push({ what: "--kv-events-config (docs/operations.md)", brings: "exact residency instead of a predicted one" });
  }
  if (events.type === "source" && events.source.replay === null) {
    missing.push({
      what: "replay_endpoint in --kv-events-config",
      brings: "exact residency also after the replica starts, or misses an event",
    });
  }
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
