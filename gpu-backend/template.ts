/**
 * The model's chat template: messages and tools → the text that the engine tokenizes. Also finds out, by rendering marked prompts at boot, in
 * which order the template lays a prompt out, which is what the hash spec of the pool has to follow.
 */
import type { ReasoningEffort } from "../src/wire/inner.ts";
import { Environment, Interpreter, Template } from "@huggingface/jinja";
import type { ChatMessage, ChatPrompt, ContentPart, Tool } from "../src/prefix/prompt.ts";
import type { TemplateOrder } from "../src/prefix/segment.ts";

/** `message` says why the template takes no such messages: the caller's error. */
type Rendered = { ok: true; text: string } | { ok: false; message: string };

/** Contents the template can read: strings, arrays of parts, or both alike. */
type ContentForm = "string" | "parts" | "either";

/** jinja's own, which it does not export. */
const clockTemplate = new Template("{{ strftime_now(format) }}");

const PROBE = "WarmpathProbe";

/** What turns a prompt into text. */
export interface Renderer {
  render(prompt: ChatPrompt, addGenerationPrompt?: boolean): Rendered;
}

export class ChatTemplate implements Renderer {
  readonly #program: Template["parsed"];
  readonly #specialTokens: Readonly<Record<string, string>>;
  readonly #knowsDeveloper: boolean;
  #contentForm: ContentForm = "either";
  #clockReads = 0;

  private constructor(source: string, specialTokens: Readonly<Record<string, string>>) {
    this.#program = new Template(source).parsed;
    this.#specialTokens = specialTokens;
    this.#knowsDeveloper = source.includes("developer");
    this.#contentForm = this.#findContentForm();
  }

  /** A template, or what is wrong with its source. */
  static parse(source: string, specialTokens: Readonly<Record<string, string>> = {}): ChatTemplate | { message: string } {
    try {
      return new ChatTemplate(source, specialTokens);
    } catch (cause) {
      return { message: `The chat template is not valid Jinja: ${reasonOf(cause)}` };
    }
  }

  /** Why the template renders no conversation at all, neither with a system message nor without; null: it can be used. */
  problem(): string | null {
    const messages: ChatMessage[] = [
      { role: "system", content: PROBE },
      { role: "user", content: PROBE },
    ];
    const tried = [messages, messages.slice(1)].map((some) => this.render({ messages: some, tools: [] }));
    if (tried.every((rendered) => !rendered.ok)) return tried.find((rendered) => !rendered.ok)?.message ?? "";
    if (tried.some((rendered) => rendered.ok && rendered.text.includes(PROBE))) return null;
    return "what a user says does not appear in it";
  }

  /** The template as a request with this effort sees it, by the names the field's templates read: Qwen's and DeepSeek's switch, gpt-oss's level. */
  withReasoning(effort: ReasoningEffort | null): Renderer {
    if (effort === null) return this;
    const variables = { reasoning_effort: effort, enable_thinking: effort !== "none", thinking: effort !== "none" };
    return { render: (prompt, addGenerationPrompt) => this.render(prompt, addGenerationPrompt, variables) };
  }

  /**
   * The prompt as text, special tokens spelled out. `variables`: what else the template may read. With `addGenerationPrompt` it ends where the
   * answer begins: behind a new turn's header, or, where the last message is the assistant's and calls nothing, behind that message's text.
   */
  render(prompt: ChatPrompt, addGenerationPrompt = true, variables: Readonly<Record<string, unknown>> = {}): Rendered {
    const run = (messages: readonly ChatMessage[], opensTurn: boolean): string =>
      this.#run(
        messages.map((message) => this.#adapt(message)),
        prompt.tools,
        opensTurn,
        variables,
      );
    try {
      const left = addGenerationPrompt ? withOpenEnd(prompt.messages) : null;
      if (left === null) return { ok: true, text: run(prompt.messages, addGenerationPrompt) };
      const text = run(left, false);
      const end = text.lastIndexOf(OPEN_END);
      return end === -1
        ? { ok: false, message: "it leaves out the assistant's message at the end, so that none can go on with it" }
        : { ok: true, text: text.slice(0, end) };
    } catch (cause) {
      return { ok: false, message: reasonOf(cause) };
    }
  }

  /**
   * null: the template fits no order (it reads the date, reorders or repeats messages, or changes earlier text when messages are added);
   * such a pool is indexed by prediction only. A template that leaves tools out counts as system-then-tools.
   */
  findTemplateOrder(): TemplateOrder | null {
    this.#clockReads = 0;
    const system = this.render({
      messages: [
        { role: "system", content: PROBE },
        { role: "user", content: PROBE },
      ],
      tools: [],
    });
    const order = this.#layout(system.ok);
    return this.#clockReads > 0 ? null : order;
  }

  #layout(withSystem: boolean): TemplateOrder | null {
    const words = ["System", "First", "Answer", "Last"].map((name) => `${PROBE}${name}Word`);
    const [system = "", first = "", answer = "", last = ""] = words;
    const messages: ChatMessage[] = [
      { role: "system", content: system },
      { role: "user", content: first },
      { role: "assistant", content: answer },
      { role: "user", content: last },
    ];
    const long = withSystem ? messages : messages.slice(1);
    const tool = `${PROBE}Tool`;
    const full = this.render({ messages: long, tools: [probeTool(tool)] });
    const bare = this.render({ messages: long, tools: [] });
    const short = this.render({ messages: long.slice(0, -2), tools: [] });
    if (!full.ok || !bare.ok || !short.ok) return null;
    const order = orderOf(full.text, withSystem ? words : words.slice(1), tool, withSystem);
    if (order === null || !sameUpTo(short.text, bare.text, first)) return null;
    if (order === "tools-in-last-user") return order;
    const shortWithTool = this.render({ messages: long.slice(0, -2), tools: [probeTool(tool)] });
    return shortWithTool.ok && sameUpTo(shortWithTool.text, full.text, first) ? order : null;
  }

  #findContentForm(): ContentForm {
    const asString = this.#probeContent(PROBE);
    const asParts = this.#probeContent([{ type: "text", text: PROBE }]);
    if (asString === asParts) return "either";
    return asParts?.includes(PROBE) && !asString?.includes(PROBE) ? "parts" : "string";
  }

  #probeContent(content: string | ContentPart[]): string | null {
    const rendered = this.render({ messages: [{ role: "user", content }], tools: [] });
    return rendered.ok ? rendered.text : null;
  }

  #adapt(message: ChatMessage): ChatMessage {
    const { content } = message;
    const renamed: ChatMessage = message.role === "developer" && !this.#knowsDeveloper ? { ...message, role: "system" } : message;
    if (this.#contentForm === "parts" && typeof content === "string") return { ...renamed, content: [{ type: "text", text: content }] };
    if (this.#contentForm === "string" && typeof content === "object" && content !== null) {
      return { ...renamed, content: content.map((part) => (part.type === "text" ? part.text : `<${part.type}>`)).join("\n") };
    }
    return renamed;
  }

  #run(
    messages: readonly ChatMessage[],
    tools: readonly Tool[],
    addGenerationPrompt: boolean,
    variables: Readonly<Record<string, unknown>>,
  ): string {
    const globals: Record<string, unknown> = {
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
      range: rangeOf,
      raise_exception: (reason: unknown) => {
        throw new Error(String(reason));
      },
      strftime_now: (format: unknown) => {
        this.#clockReads += 1;
        return clockTemplate.render({ format });
      },
      ...variables,
      ...this.#specialTokens,
      messages,
      tools: tools.length > 0 ? tools : null,
      add_generation_prompt: addGenerationPrompt,
    };
    const environment = new Environment();
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    const result: unknown = new Interpreter(environment).run(this.#program).value;
    if (typeof result !== "string") throw new Error("the template gives no text");
    return result;
  }
}

/** Behind the last text of a message that is to go on. It stands in no prompt: one that holds it all the same is cut at its own. */
const OPEN_END = "\uf8ffwarmpath-goes-on\uf8ff";

/** The messages with their last text marked at its end; null: the assistant's turn does not come last, or calls tools. */
function withOpenEnd(messages: readonly ChatMessage[]): ChatMessage[] | null {
  const last = messages.at(-1);
  if (last?.role !== "assistant" || (last.tool_calls?.length ?? 0) > 0) return null;
  const { content } = last;
  const open: ChatMessage = { ...last, content: typeof content === "string" ? content + OPEN_END : partsWithOpenEnd(content ?? []) };
  return [...messages.slice(0, -1), open];
}

function partsWithOpenEnd(parts: readonly ContentPart[]): string | ContentPart[] {
  const last = parts.at(-1);
  if (last === undefined) return OPEN_END;
  if (last.type !== "text") return [...parts, { type: "text", text: OPEN_END }];
  return [...parts.slice(0, -1), { ...last, text: last.text + OPEN_END }];
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.slice(0, 200) : "unknown reason";
}

function rangeOf(from: number, to?: number, step = 1): number[] {
  const [start, end] = to === undefined ? [0, from] : [from, to];
  const count = Math.min(Math.max(Math.ceil((end - start) / step), 0), 100_000);
  return Array.from({ length: count }, (_, index) => start + index * step);
}

function probeTool(name: string): Tool {
  return { type: "function", function: { name, description: "probe", parameters: { type: "object", properties: {} } } };
}

function orderOf(text: string, words: readonly string[], tool: string, withSystem: boolean): TemplateOrder | null {
  const places = words.map((word) => text.indexOf(word));
  if (places.some((place, index) => place <= (places[index - 1] ?? -1))) return null;
  if (words.some((word) => text.indexOf(word) !== text.lastIndexOf(word))) return null;
  const toolAt = text.indexOf(tool);
  const [system = 0, first = 0, answer = 0, last = 0] = withSystem ? places : [-1, ...places];
  if (toolAt === -1) return "system-then-tools";
  if (toolAt < system) return "tools-first";
  if (toolAt < first) return "system-then-tools";
  return toolAt > answer && toolAt < last ? "tools-in-last-user" : null;
}

/** Whether both texts are the same up to and including `word`. */
function sameUpTo(left: string, right: string, word: string): boolean {
  const end = left.indexOf(word) + word.length;
  return left.includes(word) && left.slice(0, end) === right.slice(0, end);
}
