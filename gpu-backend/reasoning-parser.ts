/** Splits `<think>…</think>` off the start of an answer that comes in pieces. White space around both parts is dropped. */

const OPEN = "<think>";
const CLOSE = "</think>";

interface Split {
  reasoning: string;
  text: string;
}

/** Length of the longest end of `text` that begins `tag`, but is not all of it. */
export function partialTag(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length -= 1) if (tag.startsWith(text.slice(-length))) return length;
  return 0;
}

export class ReasoningParser {
  #state: "start" | "reasoning" | "after" | "text";
  /** Not certain yet. */
  #held = "";
  #anyReasoning = false;

  /** `open`: the prompt ended inside the reasoning already. */
  constructor(options: { open: boolean }) {
    this.#state = options.open ? "reasoning" : "start";
  }

  get reasoning(): boolean {
    return this.#state === "reasoning";
  }

  push(piece: string): Split {
    const split = { reasoning: "", text: "" };
    this.#held += piece;
    if (this.#state === "start") this.#start();
    if (this.#state === "reasoning") split.reasoning = this.#reasoning();
    if (this.#state === "after") {
      this.#held = this.#held.trimStart();
      if (this.#held !== "") this.#state = "text";
    }
    if (this.#state === "text") {
      split.text = this.#held;
      this.#held = "";
    }
    return split;
  }

  /** What was held back, when no more comes. */
  end(): Split {
    const held = this.#held;
    this.#held = "";
    if (this.#state === "reasoning") return { reasoning: this.#anyReasoning ? held : held.trimStart(), text: "" };
    return { reasoning: "", text: held };
  }

  #start(): void {
    const text = this.#held.trimStart();
    if (text.startsWith(OPEN)) {
      this.#state = "reasoning";
      this.#held = text.slice(OPEN.length);
    } else if (!OPEN.startsWith(text)) {
      this.#state = "text";
    }
  }

  #reasoning(): string {
    if (!this.#anyReasoning) this.#held = this.#held.trimStart();
    const end = this.#held.indexOf(CLOSE);
    if (end !== -1) {
      const reasoning = this.#held.slice(0, end).trimEnd();
      this.#held = this.#held.slice(end + CLOSE.length);
      this.#state = "after";
      return reasoning;
    }
    const certain = this.#held.slice(0, this.#held.length - partialTag(this.#held, CLOSE)).trimEnd();
    this.#held = this.#held.slice(certain.length);
    this.#anyReasoning ||= certain !== "";
    return certain;
  }
}
