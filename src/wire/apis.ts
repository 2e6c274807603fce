/** Who reads a body and who writes an answer, by API: with its row in api-table.ts, its parser and its writer, all there is of an API. */
import type { ChatMessage } from "../prefix/prompt.ts";
import type { AnswerHead, AnswerStream } from "./answer-event.ts";
import { chatCompletion, ChatStream } from "./chat-answer.ts";
import { CompletionStream, textCompletion } from "./completion-answer.ts";
import { parseCompletionRequest } from "./completions.ts";
import type { InnerRequest, ParsedRequest } from "./inner.ts";
import type { ApiName } from "./api-table.ts";
import { message, MessageStream } from "./messages-answer.ts";
import { parseCountTokensRequest, parseMessagesRequest } from "./messages.ts";
import { parseChatRequest, type ParseOptions } from "./openai.ts";
import { responseObject } from "./response-object.ts";
import { ResponseStream } from "./responses-answer.ts";
import { parseResponsesRequest } from "./responses.ts";
import type { HeaderReader } from "./session.ts";
import type { WholeAnswer } from "./whole-answer.ts";

interface ParseContext {
  headers: HeaderReader;
  /** What `previous_response_id` stands for; empty without one. */
  history: readonly ChatMessage[];
  /** The engine takes images, sound and files. */
  media?: boolean;
  /** Only the prompt's tokens are asked for: messages then need no `max_tokens`. */
  counts?: boolean;
}

interface Api {
  parse: (body: unknown, context: ParseContext) => ParsedRequest;
  /** Writes the events of a streamed answer. */
  stream: (head: AnswerHead, request: InnerRequest) => AnswerStream;
  /** The answer that is not streamed, as an object for JSON. */
  whole: (head: AnswerHead, request: InnerRequest, answer: WholeAnswer) => object;
}

export const APIS: Readonly<Record<ApiName, Api>> = {
  chat: {
    parse: (body, context) => parseChatRequest(body, context.headers, mediaOf(context)),
    stream: (head, request) => new ChatStream(head, request),
    whole: chatCompletion,
  },
  completions: {
    parse: (body, context) => parseCompletionRequest(body, context.headers),
    stream: (head, request) => new CompletionStream(head, request),
    whole: textCompletion,
  },
  responses: {
    parse: (body, context) => parseResponsesRequest(body, context.history, context.headers, mediaOf(context)),
    stream: (head, request) => new ResponseStream(head, request),
    whole: responseObject,
  },
  messages: {
    parse: (body, context) => (context.counts ? parseCountTokensRequest : parseMessagesRequest)(body, context.headers, mediaOf(context)),
    stream: (head) => new MessageStream(head),
    whole: (head, _request, answer) => message(head, answer),
  },
};

function mediaOf(context: ParseContext): ParseOptions {
  return { media: context.media ?? false };
}
