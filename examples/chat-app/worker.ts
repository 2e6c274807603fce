/** The app's own Worker. The page asks it, it asks Warmpath, and the key stays here. All else is a file of dist/. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, convertToModelMessages, createUIMessageStreamResponse, streamText, type ToolSet, toUIMessageStream } from "ai";
import { z } from "zod";
import { type ChatMessage, MOST_BYTES, MOST_MESSAGES } from "./turn.ts";

interface Env {
  WARMPATH_URL: string;
  WARMPATH_KEY: string;
  REQUESTS: { limit(options: { key: string }): Promise<{ success: boolean }> };
}

const MOST_OUTPUT_TOKENS = 1_024;
/** A long prompt's first token may take a while; nothing takes longer. */
const ANSWER_MS = 120_000;
const LIST_MS = 10_000;

const Part = z.object({ type: z.literal("text"), text: z.string() });
const Asked = z.object({
  /** The conversation's, made by the page: Warmpath keeps its turns together. */
  id: z.string().regex(/^[\w-]{1,64}$/),
  model: z.string().min(1).max(200),
  messages: z
    .array(z.object({ id: z.string().max(64), role: z.enum(["user", "assistant"]), parts: z.array(Part).min(1).max(100) }))
    .min(1)
    .max(MOST_MESSAGES),
});

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname, host } = new URL(request.url);
    // Other sites' pages do not spend this app's tokens. Who may use it at all is yours to say: put a login here.
    const origin = request.headers.get("origin");
    if (origin !== null && URL.parse(origin)?.host !== host) return refused(403, "This app answers its own page only.");
    const { success } = await env.REQUESTS.limit({ key: request.headers.get("cf-connecting-ip") ?? "local" });
    if (!success) return refused(429, "Too many messages within a minute. Wait a moment.");
    if (pathname === "/api/models" && request.method === "GET") return models(env);
    if (pathname === "/api/chat" && request.method === "POST") return chat(request, env);
    return refused(404, "There is nothing here.");
  },
};

function refused(status: number, message: string): Response {
  return Response.json({ message }, { status });
}

async function models(env: Env): Promise<Response> {
  try {
    const answer = await fetch(`${env.WARMPATH_URL}/v1/models`, {
      headers: { authorization: `Bearer ${env.WARMPATH_KEY}` },
      signal: AbortSignal.timeout(LIST_MS),
    });
    if (!answer.ok) return refused(502, messageOf(answer.status));
    const { data } = z.object({ data: z.array(z.object({ id: z.string() })) }).parse(await answer.json());
    return Response.json(data.map(({ id }) => id));
  } catch {
    return refused(502, messageOf(undefined));
  }
}

async function chat(request: Request, env: Env): Promise<Response> {
  if (Number(request.headers.get("content-length") ?? MOST_BYTES + 1) > MOST_BYTES) return refused(413, "This conversation is too long.");
  const asked = Asked.safeParse(await request.json().catch(() => null));
  if (!asked.success) return refused(400, "The page sent something that this app does not understand. Reload it.");
  const { id, model, messages } = asked.data;
  let replica: string | undefined;
  const timeout = AbortSignal.timeout(ANSWER_MS);
  const warmpath = createOpenAICompatible({
    name: "warmpath",
    baseURL: `${env.WARMPATH_URL}/v1`,
    apiKey: env.WARMPATH_KEY,
    includeUsage: true,
    // Each answer of Warmpath says who gave it.
    fetch: async (input, init) => {
      const answer = await fetch(input, init);
      replica = answer.headers.get("x-warmpath-replica") ?? undefined;
      return answer;
    },
  });
  const result = streamText({
    model: warmpath(model),
    messages: await convertToModelMessages(messages),
    maxOutputTokens: MOST_OUTPUT_TOKENS,
    maxRetries: 1,
    // Turns of one conversation go where its KV cache is.
    headers: { "x-session-id": id },
    // The person pressed Stop, or left.
    abortSignal: AbortSignal.any([request.signal, timeout]),
    onError: () => undefined,
  });
  const stream = toUIMessageStream<ToolSet, ChatMessage>({
    stream: result.stream,
    messageMetadata: ({ part }) => {
      if (part.type === "text-start" || part.type === "reasoning-start") return { replica };
      if (part.type === "abort" && timeout.aborted) return { replica, wasCut: true };
      if (part.type !== "finish-step") return undefined;
      const { inputTokens, inputTokenDetails } = part.usage;
      return { replica, promptTokens: inputTokens, cachedTokens: inputTokenDetails.cacheReadTokens };
    },
    onError: (error) => messageOf(APICallError.isInstance(error) ? error.statusCode : undefined),
  });
  return createUIMessageStreamResponse({ stream });
}

/** What a person can do about it. Warmpath's own words are for its operator. */
function messageOf(status: number | undefined): string {
  if (status === undefined) return "The answer broke off. Press Retry.";
  if (status === 401 || status === 403) return "This app's key is refused by Warmpath. Its operator must set WARMPATH_KEY.";
  if (status === 400 || status === 413) return "The conversation is too long for this model. Begin a new one.";
  if (status === 404) return "This model is not served any more. Choose another one.";
  return "All replicas are busy. Press Retry in a moment.";
}
