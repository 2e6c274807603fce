/** What one event of a chat completion's stream says. */

export type TurnEvent =
  | { type: "text"; text: string }
  | { type: "usage"; promptTokens: number; cachedTokens: number; outputTokens: number }
  | { type: "error"; message: string };

interface Chunk {
  choices?: { delta?: { content?: string | null } }[];
  usage?: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details?: { cached_tokens?: number } } | null;
  error?: { message?: string };
}

/** Of one line of the stream; nothing for lines without data. Throws a SyntaxError for data that is no JSON. */
export function turnEvents(line: string): TurnEvent[] {
  if (!line.startsWith("data:")) return [];
  const data = line.slice("data:".length).trim();
  if (data === "[DONE]") return [];
  const { choices = [], usage, error } = JSON.parse(data) as Chunk;
  const events: TurnEvent[] = [];
  if (error !== undefined) events.push({ type: "error", message: error.message ?? "The answer broke off." });
  const text = choices[0]?.delta?.content ?? "";
  if (text !== "") events.push({ type: "text", text });
  if (usage) {
    const cachedTokens = usage.prompt_tokens_details?.cached_tokens ?? 0;
    events.push({ type: "usage", promptTokens: usage.prompt_tokens, cachedTokens, outputTokens: usage.completion_tokens });
  }
  return events;
}
