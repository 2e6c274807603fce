/** The inner request: one shape for what a replica runs, whichever API the client spoke. Each API's file makes one out of its own body. */
import type { ApiError } from "../errors.ts";
import type { ChatPrompt, TextPrompt, Tool } from "../prefix/prompt.ts";
import type { ApiName } from "./api-table.ts";

export type ToolChoice = "none" | "auto" | "required" | { name: string };

/** What the text must be. */
export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | { type: "json_schema"; name: string; schema: unknown; strict: boolean };

export type ReasoningEffort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";

/** null = the caller left it to us. */
export interface InnerRequest {
  api: ApiName;
  model: string;
  /** The caller's own objects where the API allows it, uncopied; the same conversation is the same prompt through every API. */
  prompt: ChatPrompt | TextPrompt;
  toolChoice: ToolChoice | null;
  /** Tools whose definitions stand in messages, not at the prompt's place for tools; they can be called too. */
  laterTools: readonly Tool[];
  /** Names of the tools that can be called, of all that the prompt has; null = all. */
  allowedTools: readonly string[] | null;
  /** Where each tool's schema stands in the caller's body, by the tool's name: the start of an error's `param`. */
  schemaPaths: ReadonlyMap<string, string>;
  /** Where the response format's schema stands in the caller's body; null = at the API's own place. */
  formatPath: string | null;
  /** False: at most one call an answer. */
  parallelToolCalls: boolean;
  responseFormat: ResponseFormat;
  reasoningEffort: ReasoningEffort | null;
  stream: boolean;
  /** Only chat and completions, only with `stream`: a last chunk carries the usage. */
  includeUsage: boolean;
  maxTokens: number | null;
  temperature: number | null;
  topP: number | null;
  seed: number | null;
  presencePenalty: number;
  frequencyPenalty: number;
  /** Token id → bias in -100 … 100. */
  logitBias: ReadonlyMap<number, number>;
  /** How many alternatives a token is told with, 0 … 20; null = no logprobs. */
  logprobs: number | null;
  /** At most 4 through OpenAI's APIs, 16 through messages. */
  stop: readonly string[];
  /** Choices, 1 … 8. */
  n: number;
  /** Only completions: the prompt comes first in the text. */
  echo: boolean;
  /** What binds the requests of one conversation, by the strongest hint the client gave. */
  session: string | null;
  /** Only responses. */
  responses: ResponsesSettings | null;
}

export interface ResponsesSettings {
  store: boolean;
  previousResponseId: string | null;
  instructions: string | null;
  metadata: Readonly<Record<string, string>>;
  /** As the caller wrote it, for the response object. */
  echoed: Readonly<Record<string, unknown>>;
  /** As the caller wrote it; `inputItemsOf` (responses-items.ts) makes items of it for who stores them. */
  input: unknown;
}

export type ParsedRequest = { ok: true; request: InnerRequest } | { ok: false; error: ApiError };
