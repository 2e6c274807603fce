/** The three APIs of the chat: where each takes a turn, in which shape, and what the events of its stream say. */

export interface Message {
  role: "user" | "assistant";
  content: string;
}

type TurnEvent =
  | { type: "text"; text: string }
  | { type: "usage"; promptTokens: number; cachedTokens: number }
  /** The answer reached the most output tokens. */
  | { type: "cut" }
  | { type: "error"; message: string };

export type ApiName = "chat" | "responses" | "messages";

interface ChatApi {
  label: string;
  path: string;
  body(model: string, messages: readonly Message[], mostOutputTokens: number): object;
  /** Of one event's data. */
  events(data: object): TurnEvent[];
}

/** At the APIs' own 1 a small model rambles; SmolLM2's authors advise 0.2 (its model card). */
const TEMPERATURE = 0.2;

const BROKEN = "The answer broke off.";

interface ChatData {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; prompt_tokens_details?: { cached_tokens?: number } } | null;
  error?: { message?: string };
}

interface ResponsesData {
  type?: string;
  /** Of `response.output_text.delta`. */
  delta?: string;
  /** Of `error`. */
  message?: string;
  response?: {
    usage?: { input_tokens: number; input_tokens_details?: { cached_tokens?: number } } | null;
    error?: { message?: string } | null;
  };
}

interface MessagesData {
  type?: string;
  delta?: { type?: string; text?: string; stop_reason?: string | null };
  usage?: { input_tokens: number; cache_read_input_tokens?: number; cache_creation_input_tokens?: number };
  error?: { message?: string };
}

const textOf = (text: string | null | undefined): TurnEvent[] => (text ? [{ type: "text", text }] : []);

const CHAT: ChatApi = {
  label: "Chat completions",
  path: "/v1/chat/completions",
  body: (model, messages, mostOutputTokens) => ({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: mostOutputTokens,
    temperature: TEMPERATURE,
  }),
  events(data) {
    const { choices = [], usage, error } = data as ChatData;
    if (error !== undefined) return [{ type: "error", message: error.message ?? BROKEN }];
    const events = textOf(choices[0]?.delta?.content);
    if (choices[0]?.finish_reason === "length") events.push({ type: "cut" });
    if (usage)
      events.push({ type: "usage", promptTokens: usage.prompt_tokens, cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0 });
    return events;
  },
};

const RESPONSES: ChatApi = {
  label: "Responses",
  path: "/v1/responses",
  // The whole conversation travels each time, so nothing of it needs to be stored.
  body: (model, input, mostOutputTokens) => ({
    model,
    input,
    stream: true,
    store: false,
    max_output_tokens: mostOutputTokens,
    temperature: TEMPERATURE,
  }),
  events(data) {
    const { type, delta, message, response } = data as ResponsesData;
    if (type === "response.output_text.delta") return textOf(delta);
    if (type === "error") return [{ type: "error", message: message ?? BROKEN }];
    if (type === "response.failed") return [{ type: "error", message: response?.error?.message ?? BROKEN }];
    if (type !== "response.completed" && type !== "response.incomplete") return [];
    const events: TurnEvent[] = type === "response.incomplete" ? [{ type: "cut" }] : [];
    const usage = response?.usage;
    if (usage)
      events.push({ type: "usage", promptTokens: usage.input_tokens, cachedTokens: usage.input_tokens_details?.cached_tokens ?? 0 });
    return events;
  },
};

const MESSAGES: ChatApi = {
  label: "Messages",
  path: "/v1/messages",
  body: (model, messages, mostOutputTokens) => ({ model, messages, stream: true, max_tokens: mostOutputTokens, temperature: TEMPERATURE }),
  events(data) {
    const { type, delta, usage, error } = data as MessagesData;
    if (type === "content_block_delta") return delta?.type === "text_delta" ? textOf(delta.text) : [];
    if (type === "error") return [{ type: "error", message: error?.message ?? BROKEN }];
    if (type !== "message_delta") return [];
    const events: TurnEvent[] = delta?.stop_reason === "max_tokens" ? [{ type: "cut" }] : [];
    if (usage === undefined) return events;
    // Anthropic's input tokens leave out what was read from the cache.
    const { input_tokens, cache_read_input_tokens: cachedTokens = 0, cache_creation_input_tokens = 0 } = usage;
    return [...events, { type: "usage", promptTokens: input_tokens + cachedTokens + cache_creation_input_tokens, cachedTokens }];
  },
};

export const APIS: Readonly<Record<ApiName, ChatApi>> = { chat: CHAT, responses: RESPONSES, messages: MESSAGES };

export const API_NAMES = ["chat", "responses", "messages"] as const satisfies readonly ApiName[];

/** Of one line of a stream; nothing for lines without data. Throws a SyntaxError for data that is no JSON. */
export function turnEvents(api: ApiName, line: string): TurnEvent[] {
  if (!line.startsWith("data:")) return [];
  const data = line.slice("data:".length).trim();
  return data === "[DONE]" ? [] : APIS[api].events(JSON.parse(data) as object);
}
