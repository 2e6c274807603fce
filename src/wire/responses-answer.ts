/** The stream events of OpenAI's responses API. */
import type { ApiError } from "../errors.ts";
import type { AnswerEvent, AnswerHead, AnswerStream } from "./answer-event.ts";
import type { InnerRequest } from "./inner.ts";
import { calledAs, contentPartOf, itemId, outputItem, responseLogprobs, responseObject, startedResponse } from "./response-object.ts";
import { type AnswerPart, WholeAnswer } from "./whole-answer.ts";

type ContentText = Exclude<AnswerPart, { type: "call" }>;

export class ResponseStream implements AnswerStream {
  readonly #head: AnswerHead;
  readonly #request: InnerRequest;
  readonly #answer = new WholeAnswer();
  #sequence = 0;
  /** Of the item that is open, or was last; -1 = none yet. */
  #index = -1;
  /** The item that is open, growing. */
  #part: AnswerPart | null = null;

  constructor(head: AnswerHead, request: InnerRequest) {
    this.#head = head;
    this.#request = request;
  }

  open(): string {
    const response = startedResponse(this.#head, this.#request);
    return this.#sse("response.created", { response }) + this.#sse("response.in_progress", { response });
  }

  event(event: AnswerEvent): string {
    this.#answer.add(event);
    switch (event.type) {
      case "started":
      case "usage":
        return "";
      case "reasoning":
        return this.#grow({ type: "reasoning", text: "" }) + this.#delta("reasoning_text", event.text, {});
      case "text":
        return (
          this.#grow({ type: "text", text: "", logprobs: null }) +
          this.#delta("output_text", event.text, { logprobs: responseLogprobs(event.logprobs) })
        );
      case "tool_call":
        return this.#end() + this.#begin({ type: "call", id: event.id, name: event.name, arguments: "" });
      case "tool_arguments":
        return this.#sse("response.function_call_arguments.delta", { ...this.#place(), delta: event.text });
      case "finished":
        return this.#finish(event.reason === "length");
    }
  }

  close(): string {
    const response = responseObject(this.#head, this.#request, this.#answer);
    return this.#sse(response.status === "incomplete" ? "response.incomplete" : "response.completed", { response });
  }

  fail(error: ApiError): string {
    return this.#sse("response.failed", { response: responseObject(this.#head, this.#request, this.#answer, error) });
  }

  #finish(cut: boolean): string {
    const empty = this.#index === -1 ? this.#begin({ type: "text", text: "", logprobs: null }) : "";
    return empty + this.#end(cut);
  }

  /** Opens an item of this type if none is open. */
  #grow(part: ContentText): string {
    return this.#part?.type === part.type ? "" : this.#end() + this.#begin(part);
  }

  #begin(part: AnswerPart): string {
    this.#part = part;
    this.#index += 1;
    const item = outputItem(this.#head, this.#request, part, this.#index, "in_progress");
    const bare = item.type === "function_call" ? item : { ...item, content: [] };
    const added = this.#sse("response.output_item.added", { output_index: this.#index, item: bare });
    if (part.type === "call") return added;
    return added + this.#sse("response.content_part.added", { ...this.#place(), content_index: 0, part: contentPartOf(part) });
  }

  #delta(name: "output_text" | "reasoning_text", delta: string, more: object): string {
    return this.#sse(`response.${name}.delta`, { ...this.#place(), content_index: 0, delta, ...more });
  }

  /** `cut`: the item is not whole. */
  #end(cut = false): string {
    if (this.#part === null) return "";
    const place = this.#place();
    // The answer has the same parts, one for each item, with all their text.
    const part = this.#answer.choice(0).parts[this.#index] ?? this.#part;
    this.#part = null;
    const item = outputItem(this.#head, this.#request, part, this.#index, cut ? "incomplete" : "completed");
    const done = part.type === "call" ? this.#argumentsDone(part) : this.#textDone(part, place);
    return done + this.#sse("response.output_item.done", { output_index: this.#index, item });
  }

  #argumentsDone(part: Extract<AnswerPart, { type: "call" }>): string {
    const place = { item_id: itemId(this.#head, "call", this.#index), output_index: this.#index };
    return this.#sse("response.function_call_arguments.done", {
      ...place,
      name: calledAs(this.#request, part.name).name,
      arguments: part.arguments,
    });
  }

  #textDone(part: ContentText, place: object): string {
    const at = { ...place, content_index: 0 };
    const done =
      part.type === "reasoning"
        ? this.#sse("response.reasoning_text.done", { ...at, text: part.text })
        : this.#sse("response.output_text.done", { ...at, text: part.text, logprobs: responseLogprobs(part.logprobs) });
    return done + this.#sse("response.content_part.done", { ...at, part: contentPartOf(part) });
  }

  #place(): { item_id: string; output_index: number } {
    return { item_id: itemId(this.#head, this.#part?.type ?? "text", this.#index), output_index: this.#index };
  }

  #sse(type: string, fields: object): string {
    const event = { type, sequence_number: this.#sequence, ...fields };
    this.#sequence += 1;
    return `event: ${type}\ndata: ${JSON.stringify(event)}\n\n`;
  }
}
