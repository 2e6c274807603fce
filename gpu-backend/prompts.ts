/** An inner request as this replica's model reads it: rendered by its template, hashed as the edge hashed it, anchored to its engine's blocks. */
import xxhash from "xxhash-wasm";
import { type ApiError, apiError } from "../src/errors.ts";
import { chainOf, chainRoot, type Hash64 } from "../src/prefix/chain.ts";
import type { ChatPrompt } from "../src/prefix/prompt.ts";
import { PromptEncoder } from "../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../src/prefix/segment.ts";
import { contextLengthError, promptParam } from "../src/wire/context-length.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import { anchorsOf } from "./anchor.ts";
import { ClientMarks } from "./client-marks.ts";
import type { EngineCard, EngineKey } from "./engine/engine.ts";
import type { Anchor } from "./held-segments.ts";
import { ChatTemplate } from "./template.ts";

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);

/** `cuts`: as an engine request has them. */
type Rendered = { ok: true; text: string; cuts: readonly number[] } | { ok: false; error: ApiError };

export interface Opened {
  ok: true;
  /** As the engine gets it. */
  text: string;
  cuts: readonly number[];
  /** @param tokenEnds as its engine knows them; null: it does not. */
  anchors(tokenEnds: Uint32Array | null, blockKeys: EngineKey[]): Anchor[];
}

export class Prompts {
  readonly hashSpec: HashSpec;
  /** False: no known template order fits, so what the engine holds cannot be told in segments. */
  readonly exact: boolean;
  readonly #card: EngineCard;
  readonly #template: ChatTemplate;
  readonly #marks: ClientMarks;
  readonly #encoder = new PromptEncoder(hash64, { recordPieces: true });

  private constructor(card: EngineCard, template: ChatTemplate) {
    this.#card = card;
    this.#template = template;
    this.#marks = new ClientMarks(card.marks ?? []);
    const order = template.findTemplateOrder();
    this.exact = order !== null;
    this.hashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: order ?? "system-then-tools" };
  }

  /** Or why no prompt can be rendered for this model. */
  static of(card: EngineCard): Prompts | { message: string } {
    const template = ChatTemplate.parse(card.chatTemplate, card.specialTokens);
    if (!(template instanceof ChatTemplate)) return template;
    const problem = template.problem();
    if (problem !== null) return { message: `The model's chat template can't be run: ${problem}. Use a file with another template.` };
    return new Prompts(card, template);
  }

  render(request: InnerRequest): Rendered {
    // Such a prompt is the caller's own rendering, marks and all.
    if ("text" in request.prompt) return this.#fitting(request, { ok: true, text: request.prompt.text, cuts: [] });
    const refused = (message: string): Rendered => ({ ok: false, error: apiError("invalid_request", message, promptParam(request)) });
    const { contextTokens } = this.#card;
    const tooLong = (promptTokens: number): Rendered => this.#tooLong(request, promptTokens);
    // Each is a token at least. A template takes long for many, and all else in this process waits for it.
    const pieces = piecesOf(request.prompt);
    if (pieces > contextTokens) return tooLong(pieces);
    const template = this.#template.withReasoning(request.reasoningEffort);
    const rendered = template.render(request.prompt, true);
    if (!rendered.ok) return refused(`The model's chat template refuses these messages: ${rendered.message}`);
    const fitting = this.#fitting(request, { ok: true, text: rendered.text, cuts: [] });
    if (!fitting.ok) return fitting;
    // Where there is a mark, a token ends.
    const cuts = this.#marks.cuts(template, request.prompt, rendered.text, contextTokens);
    if (cuts === "too-many") return tooLong(contextTokens + 1);
    if (cuts !== "rewritten") return { ok: true, text: rendered.text, cuts };
    return refused("A text spells one of the model's control tokens where its chat template rewrites texts; spell it in another way.");
  }

  #tooLong(request: InnerRequest, promptTokens: number): Rendered {
    return { ok: false, error: contextLengthError(request, { promptTokens, exact: false, contextTokens: this.#card.contextTokens }) };
  }

  /** Unless its bytes alone are more than the context's tokens can stand for. */
  #fitting(request: InnerRequest, rendered: Extract<Rendered, { ok: true }>): Rendered {
    const { contextTokens, longestTokenBytes } = this.#card;
    if (longestTokenBytes === undefined) return rendered;
    const leastTokens = Math.ceil(Buffer.byteLength(rendered.text) / longestTokenBytes);
    return leastTokens >= contextTokens ? this.#tooLong(request, leastTokens) : rendered;
  }

  /** `chainTip`: of the admission or ticket that came with it, which was given for one prompt only. */
  open(request: InnerRequest, salt: string, chainTip: string): Opened | { ok: false; error: ApiError } {
    const bytes = this.#encoder.encode(request.prompt, this.hashSpec.order);
    const root = chainRoot(hash64, { spec: this.hashSpec, model: this.#card.model, adapter: null, salt });
    const chain = chainOf(hash64, root, bytes, this.hashSpec.schedule);
    const pieces = [...this.#encoder.pieces];
    if ((chain.hashes.at(-1)?.toString(16) ?? "") !== chainTip) {
      return { ok: false, error: apiError("invalid_admission", "The admission was given for another prompt.") };
    }
    const rendered = this.render(request);
    if (!rendered.ok) return rendered;
    const { text, cuts } = rendered;
    const { blockTokens } = this.#card;
    const template = this.#template.withReasoning(request.reasoningEffort);
    const anchors = (engineEnds: Uint32Array | null, blockKeys: EngineKey[]): Anchor[] => {
      const tokenEnds = tokenEndsOf(request) ?? engineEnds;
      if (!this.exact || tokenEnds === null || tokenEnds.length === 0) return [];
      return anchorsOf(template, request.prompt, this.hashSpec.order, { chain, pieces, rendered: text, tokenEnds, blockKeys, blockTokens });
    };
    return { ok: true, text, cuts, anchors };
  }
}

/** Where the tokens of a prompt of tokens end in its text; null: it is text, of which the engine says so. */
function tokenEndsOf({ prompt }: InnerRequest): Uint32Array | null {
  if (!("text" in prompt) || prompt.tokens === undefined) return null;
  let end = 0;
  return Uint32Array.from(prompt.tokens, (token) => (end += String(token).length + 1));
}

/** Messages, their parts and calls, and tools. */
function piecesOf({ messages, tools }: ChatPrompt): number {
  const within = ({ content, tool_calls: calls }: ChatPrompt["messages"][number]): number =>
    1 + (typeof content === "string" ? 0 : (content?.length ?? 0)) + (calls?.length ?? 0);
  return messages.reduce((sum, message) => sum + within(message), tools.length);
}
