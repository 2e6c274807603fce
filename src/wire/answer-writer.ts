/** Which writer speaks which API. */
import type { AnswerHead, AnswerStream } from "./answer-event.ts";
import { chatCompletion, ChatStream } from "./chat-answer.ts";
import { CompletionStream, textCompletion } from "./completion-answer.ts";
import type { InnerRequest } from "./inner.ts";
import { message, MessageStream } from "./messages-answer.ts";
import { responseObject } from "./response-object.ts";
import { ResponseStream } from "./responses-answer.ts";
import type { WholeAnswer } from "./whole-answer.ts";

export function answerStream(head: AnswerHead, request: InnerRequest): AnswerStream {
  switch (request.api) {
    case "chat":
      return new ChatStream(head, request);
    case "completions":
      return new CompletionStream(head, request);
    case "responses":
      return new ResponseStream(head, request);
    case "messages":
      return new MessageStream(head);
  }
}

/** The answer that is not streamed, as an object for JSON. */
export function answerBody(head: AnswerHead, request: InnerRequest, answer: WholeAnswer): object {
  switch (request.api) {
    case "chat":
      return chatCompletion(head, request, answer);
    case "completions":
      return textCompletion(head, request, answer);
    case "responses":
      return responseObject(head, request, answer);
    case "messages":
      return message(head, answer);
  }
}
