/** What the engine writes → what the answer is made of: reasoning, text, tool calls, of one choice or several. */
import { type AnswerEvent, type AnswerHead, callId, type FinishReason, type TokenLogprob } from "../src/wire/answer-event.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import type { ChoiceEvent } from "./choices.ts";
import type { EngineEvent } from "./engine/engine.ts";
import { callableTools, grammarOf } from "./engine-request.ts";
import { ReasoningParser } from "./reasoning-parser.ts";
import { CALL_CLOSE, ToolCallParser } from "./tool-call-parser.ts";

type Finished = Extract<EngineEvent, { type: "finished" }>;

/** `lost`: the engine failed or was stopped; nothing follows. */
export type AnswerStep = AnswerEvent | { type: "lost"; message: string };

interface AnswerSource {
  events: AsyncIterable<ChoiceEvent>;
  /** The rendered prompt, which may end inside the reasoning. */
  prompt: string;
}

export async function* answerSteps(request: InnerRequest, head: AnswerHead, source: AnswerSource): AsyncGenerator<AnswerStep> {
  const choices = Array.from({ length: request.n }, (_, choice) => new ChoiceAnswer(request, head, choice, source.prompt));
  const usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };
  for await (const { choice, event } of source.events) {
    const answer = choices[choice];
    if (answer === undefined) continue;
    switch (event.type) {
      case "queued":
        if (choice === 0) usage.promptTokens = event.promptTokens;
        break;
      case "started":
        if (choice > 0) break;
        usage.cachedTokens = event.cachedTokens;
        yield { type: "started", promptTokens: usage.promptTokens, cachedTokens: usage.cachedTokens };
        break;
      case "delta":
        yield* answer.delta(event);
        break;
      case "finished":
        if (event.reason !== "stop" && event.reason !== "length") {
          yield { type: "lost", message: event.message ?? "The engine failed while it wrote this answer." };
          return;
        }
        // Some engines know only at the end how long the prompt was, and what of it they found cached.
        if (choice === 0) ({ promptTokens: usage.promptTokens, cachedTokens: usage.cachedTokens } = event);
        usage.outputTokens += event.outputTokens;
        usage.reasoningTokens += answer.reasoningTokens;
        yield* answer.finish(event, event.reason);
    }
  }
  yield { type: "usage", usage, endedAtS: Math.floor(Date.now() / 1000) };
}

const THINKING = /<think>\s*$/;

class ChoiceAnswer {
  reasoningTokens = 0;
  readonly #request: InnerRequest;
  readonly #choice: number;
  readonly #callId: (index: number) => string;
  /** null: all is text. */
  readonly #reasoning: ReasoningParser | null;
  readonly #calls: ToolCallParser | null;
  #callCount = 0;
  #begun = false;
  /** Logprobs whose text was not sent yet. */
  #logprobs: TokenLogprob[] = [];

  constructor(request: InnerRequest, head: AnswerHead, choice: number, prompt: string) {
    this.#request = request;
    this.#choice = choice;
    const prefix = request.api === "messages" ? "toolu" : "call";
    this.#callId = (index) => callId(head, prefix, choice, index);
    // A grammar has no room for reasoning, and none but its own for calls.
    const grammar = grammarOf(request);
    const free = request.api !== "completions" && grammar === null;
    this.#reasoning = free ? new ReasoningParser({ open: THINKING.test(prompt) }) : null;
    const tools = free || grammar?.type === "tool_calls" ? callableTools(request) : [];
    const where = grammar?.type !== "tool_calls" ? "free" : grammar.otherwise === null ? "forced" : "either";
    this.#calls =
      tools.length > 0
        ? new ToolCallParser(
            tools.map((tool) => tool.function.name),
            where,
          )
        : null;
  }

  *delta(event: Extract<EngineEvent, { type: "delta" }>): Generator<AnswerEvent> {
    yield* this.#echo();
    if (event.logprobs !== null) this.#logprobs.push(...event.logprobs);
    if (this.#reasoning === null) return yield* this.#told({ reasoning: "", text: event.text });
    const before = this.#reasoning.reasoning;
    const split = this.#reasoning.push(event.text);
    if (before || this.#reasoning.reasoning || split.reasoning !== "") this.reasoningTokens += event.tokens;
    yield* this.#told(split);
  }

  *finish(event: Finished, reason: "stop" | "length"): Generator<AnswerEvent> {
    yield* this.#echo();
    yield* this.#told(this.#reasoning?.end() ?? { reasoning: "", text: "" });
    const cut = reason === "length" || event.stopText !== null;
    const isCallOpen = this.#calls?.isInCall ?? false;
    for (const parsed of this.#calls?.end(cut) ?? []) yield this.#event(parsed);
    // Only ours, unless the caller asked for the same.
    const stopText = event.stopText === CALL_CLOSE && !this.#request.stop.includes(CALL_CLOSE) ? null : event.stopText;
    // A call that was cut off is no call to be made.
    const called: FinishReason = this.#callCount > 0 && reason === "stop" && !isCallOpen ? "tool_calls" : reason;
    yield { type: "finished", choice: this.#choice, reason: called, stopText };
  }

  /** The prompt before the first text, not before it is computed: it would count as content. */
  *#echo(): Generator<AnswerEvent> {
    if (!this.#begun && this.#request.echo && "text" in this.#request.prompt) {
      yield { type: "text", choice: this.#choice, text: this.#request.prompt.text, logprobs: null };
    }
    this.#begun = true;
  }

  *#told(split: { reasoning: string; text: string }): Generator<AnswerEvent> {
    if (split.reasoning !== "") {
      this.#logprobs = [];
      yield { type: "reasoning", choice: this.#choice, text: split.reasoning };
    }
    if (split.text === "") return;
    if (this.#calls === null) yield this.#event({ type: "text", text: split.text });
    else for (const parsed of this.#calls.push(split.text)) yield this.#event(parsed);
  }

  #event(parsed: ReturnType<ToolCallParser["push"]>[number]): AnswerEvent {
    const choice = this.#choice;
    const logprobs = this.#request.logprobs === null ? null : this.#logprobs;
    this.#logprobs = [];
    switch (parsed.type) {
      case "text":
        return { type: "text", choice, text: parsed.text, logprobs };
      case "call": {
        const index = this.#callCount;
        this.#callCount += 1;
        return { type: "tool_call", choice, index, id: this.#callId(index), name: parsed.name };
      }
      case "arguments":
        return { type: "tool_arguments", choice, index: this.#callCount - 1, text: parsed.text };
    }
  }
}
