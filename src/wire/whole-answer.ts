/** An answer put together from its events, for the APIs' objects. */
import type { AnswerEvent, AnswerUsage, FinishReason, TokenLogprob } from "./answer-event.ts";

export type AnswerPart =
  | { type: "reasoning"; text: string }
  | { type: "text"; text: string; logprobs: TokenLogprob[] | null }
  | { type: "call"; id: string; name: string; arguments: string };

export interface AnswerChoice {
  /** In the order in which they came; neighbours of one type are one part, but every call is its own. */
  parts: AnswerPart[];
  /** null: not finished. */
  reason: FinishReason | null;
  stopText: string | null;
}

export const NO_USAGE: AnswerUsage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };

export class WholeAnswer {
  readonly choices: AnswerChoice[] = [];
  usage: AnswerUsage = NO_USAGE;
  /** Seconds since 1970; null: it has not ended, or nobody said when. */
  endedAtS: number | null = null;

  add(event: AnswerEvent): void {
    switch (event.type) {
      case "started":
        this.usage = { ...this.usage, promptTokens: event.promptTokens, cachedTokens: event.cachedTokens };
        return;
      case "usage":
        this.usage = event.usage;
        this.endedAtS = event.endedAtS ?? null;
        return;
      case "finished": {
        const choice = this.choice(event.choice);
        choice.reason = event.reason;
        choice.stopText = event.stopText;
        return;
      }
      case "tool_call":
        this.choice(event.choice).parts.push({ type: "call", id: event.id, name: event.name, arguments: "" });
        return;
      case "tool_arguments": {
        const call = this.choice(event.choice).parts.at(-1);
        if (call?.type === "call") call.arguments += event.text;
        return;
      }
      case "reasoning":
        return this.#reasoning(this.choice(event.choice).parts, event.text);
      case "text":
        return this.#text(this.choice(event.choice).parts, event.text, event.logprobs);
    }
  }

  /** A choice with nothing yet if it has had no event. */
  choice(index: number): AnswerChoice {
    for (let made = this.choices.length; made <= index; made += 1) this.choices.push({ parts: [], reason: null, stopText: null });
    return this.choices[index] ?? { parts: [], reason: null, stopText: null };
  }

  #reasoning(parts: AnswerPart[], text: string): void {
    const last = parts.at(-1);
    if (last?.type === "reasoning") last.text += text;
    else parts.push({ type: "reasoning", text });
  }

  #text(parts: AnswerPart[], text: string, logprobs: readonly TokenLogprob[] | null): void {
    const last = parts.at(-1);
    if (last?.type !== "text") {
      parts.push({ type: "text", text, logprobs: logprobs === null ? null : [...logprobs] });
      return;
    }
    last.text += text;
    if (logprobs !== null) (last.logprobs ??= []).push(...logprobs);
  }
}

/** All parts of one type that have text, as one. */
export function textOf(choice: AnswerChoice, type: "reasoning" | "text"): string {
  return choice.parts.map((part) => (part.type === type ? part.text : "")).join("");
}

export function callsOf(choice: AnswerChoice): Extract<AnswerPart, { type: "call" }>[] {
  return choice.parts.filter((part) => part.type === "call");
}

export function logprobsOf(choice: AnswerChoice): TokenLogprob[] {
  return choice.parts.flatMap((part) => (part.type === "text" ? (part.logprobs ?? []) : []));
}
