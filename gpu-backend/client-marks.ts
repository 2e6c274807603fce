/**
 * Control tokens that a client's text spells. In the rendered prompt they look like the template's own, and the tokenizer would take them for
 * those: a message could end itself and speak as another role. So the prompt is cut inside each, and tokenized in pieces: they stay text.
 *
 * Which marks are the client's is found by rendering the prompt again with a sentinel inside each that a text of it spells.
 */
import type { ChatMessage, ChatPrompt, ContentPart, Tool } from "../src/prefix/prompt.ts";
import type { Renderer } from "./template.ts";

/** `rewritten`: the template changes such a text, so that nobody can tell which marks are its own. `too-many`: more than were to be found. */
type Cuts = readonly number[] | "rewritten" | "too-many";

export class ClientMarks {
  readonly #longest: number;
  /** Marks may overlap, so it matches nothing itself. */
  readonly #pattern: RegExp | null;

  /** Texts of the vocabulary that are read as one token each. */
  constructor(marks: readonly string[]) {
    const escaped = marks
      .filter((mark) => mark.length > 1)
      .toSorted((a, b) => b.length - a.length)
      .map((mark) => mark.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
    this.#longest = marks.reduce((most, mark) => Math.max(most, mark.length), 0);
    this.#pattern = escaped.length === 0 ? null : new RegExp(`(?=(${escaped.join("|")}))`, "g");
  }

  /** UTF-16 offsets in `rendered`, rising, at each of which a token has to end; at most `most`. */
  cuts(template: Renderer, prompt: ChatPrompt, rendered: string, most = Infinity): Cuts {
    if (this.#pattern === null || !this.#spelled(prompt)) return [];
    let left = most;
    for (const _ of rendered.matchAll(this.#pattern)) if ((left -= 1) < 0) return "too-many";
    const sentinel = sentinelFor(rendered);
    if (sentinel === null) return "rewritten";
    // Templates may look for marks in what the model said before (the end of its reasoning); those are then the template's.
    for (const assistantToo of [true, false]) {
      const marked = template.render(this.#markPrompt(prompt, sentinel, assistantToo), true);
      if (!marked.ok || marked.text.replaceAll(sentinel, "") !== rendered) continue;
      return this.#inside(rendered, placesOf(marked.text, sentinel));
    }
    return "rewritten";
  }

  /** Whether any text, or texts that a template may join, spells a mark. */
  #spelled({ messages, tools }: ChatPrompt): boolean {
    const has = (text: string) => text.length > 1 && text.search(this.#pattern ?? "") !== -1;
    const isMarked = ({ content, name, tool_calls: calls }: ChatMessage): boolean => {
      const text = typeof content === "string" ? content : (content ?? []).map((part) => (part.type === "text" ? part.text : "")).join("");
      return has(text) || has(name ?? "") || (calls ?? []).some((call) => has(call.function.name) || has(call.function.arguments));
    };
    return messages.some(isMarked) || tools.some((tool) => has(JSON.stringify(tool.function)));
  }

  #markPrompt({ messages, tools }: ChatPrompt, sentinel: string, assistantToo: boolean): ChatPrompt {
    const mark = (text: string) => this.#markText(text, sentinel);
    const markPart = (part: ContentPart, index: number): ContentPart =>
      part.type === "text" ? { ...part, text: (index > 0 ? sentinel : "") + mark(part.text) } : part;
    const markMessage = (message: ChatMessage): ChatMessage => {
      if (message.role === "assistant" && !assistantToo) return message;
      const { content, name, tool_calls: calls } = message;
      return {
        ...message,
        ...(content === undefined || content === null
          ? {}
          : { content: typeof content === "string" ? mark(content) : content.map(markPart) }),
        ...(typeof name === "string" ? { name: mark(name) } : {}),
        ...(calls ? { tool_calls: calls.map((call) => ({ ...call, function: deep(call.function, mark) })) } : {}),
      };
    };
    return { messages: messages.map(markMessage), tools: tools.map((tool): Tool => ({ ...tool, function: deep(tool.function, mark) })) };
  }

  /** A sentinel behind the first character of each mark. */
  #markText(text: string, sentinel: string): string {
    let marked = "";
    let from = 0;
    for (const { index } of text.matchAll(this.#pattern ?? /$^/g)) {
      marked += text.slice(from, index + 1) + sentinel;
      from = index + 1;
    }
    return marked + text.slice(from);
  }

  /** Of the places those inside a mark; between two parts there mostly is none. */
  #inside(rendered: string, places: readonly number[]): number[] {
    return places.filter((place) => {
      const around = Math.max(0, place - this.#longest);
      const text = rendered.slice(around, place + this.#longest);
      return [...text.matchAll(this.#pattern ?? /$^/g)].some(({ index, 1: mark }) => {
        const start = around + index;
        return start < place && place < start + (mark ?? "").length;
      });
    });
  }
}

/** The value with every text in it changed; names of properties too. */
function deep<T>(value: T, change: (text: string) => string): T {
  const changed = (one: unknown): unknown => {
    if (typeof one === "string") return change(one);
    if (Array.isArray(one)) return one.map(changed);
    if (typeof one !== "object" || one === null) return one;
    return Object.fromEntries(Object.entries(one).map(([key, inner]) => [change(key), changed(inner)]));
  };
  return changed(value) as T;
}

/** A private-use character that the prompt does not hold. */
function sentinelFor(rendered: string): string | null {
  for (let code = 0xe000; code < 0xe100; code += 1) {
    const one = String.fromCharCode(code);
    if (!rendered.includes(one)) return one;
  }
  return null;
}

/** Where the sentinels stood, in the text without them. */
function placesOf(marked: string, sentinel: string): number[] {
  const places: number[] = [];
  for (let at = marked.indexOf(sentinel); at !== -1; at = marked.indexOf(sentinel, at + 1)) places.push(at - places.length);
  return [...new Set(places)];
}
