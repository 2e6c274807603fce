/**
 * Anchors: which engine block holds a segment. The replica knows where every segment of the canonical prompt ends (src/prefix), and from its
 * engine where every token of the rendered prompt ends. Between the two lies the chat template, so it is asked where each text came out: the
 * prompt is rendered once more with a sentinel in every text. What is not plainly found rounds up, so a segment is announced too late
 * rather than too early.
 */
import type { Chain } from "../src/prefix/chain.ts";
import type { PromptPiece } from "../src/prefix/prompt-encoder.ts";
import { type ChatMessage, type ChatPrompt, type ContentPart, type TextPrompt, type Tool, canonicalPrompt } from "../src/prefix/prompt.ts";
import type { TemplateOrder } from "../src/prefix/segment.ts";
import type { EngineKey } from "./engine/engine.ts";
import type { Anchor } from "./held-segments.ts";
import type { Renderer } from "./template.ts";

/** A run of bytes that stand unchanged in both prompts. A tool's has length 0: only where it begins is known. */
interface VerbatimRun {
  canonicalStart: number;
  renderedStart: number;
  byteLength: number;
}

export interface PromptOffsets {
  /** Rising in both offsets. */
  runs: readonly VerbatimRun[];
  renderedBytes: number;
}

interface RenderedPrompt {
  prompt: ChatPrompt;
  order: TemplateOrder;
  /** Of the same prompt and order (`PromptEncoder` with recordPieces). */
  pieces: readonly PromptPiece[];
  /** What `template.render(prompt, addGenerationPrompt)` gave. */
  rendered: string;
  addGenerationPrompt: boolean;
}

/** null: the template treats a marked text differently or leaves the canonical order; the request is not anchored. */
export function promptOffsets(template: Renderer, request: RenderedPrompt): PromptOffsets | null {
  const { prompt, order, pieces, rendered } = request;
  const sentinels = makeSentinels(rendered, pieces);
  if (sentinels === null) return null;
  const marked = markPrompt(prompt, sentinels.next);
  const again = template.render(marked, request.addGenerationPrompt);
  if (!again.ok) return null;
  const places = findSentinels(again.text, rendered, sentinels.pattern);
  return places === null ? null : alignPieces(pieces, sentinelOrder(marked, order, sentinels.pattern), places, rendered);
}

/** A prompt without a template: one mark, then the same bytes. */
function textOffsets(text: string): PromptOffsets {
  const byteLength = Buffer.byteLength(text);
  return { runs: [{ canonicalStart: 1, renderedStart: 0, byteLength }], renderedBytes: byteLength };
}

/** The end in the rendered prompt of all that the first `canonical` bytes decide; rounds up. */
export function toRenderedOffset(offsets: PromptOffsets, canonical: number): number {
  const { runs, renderedBytes } = offsets;
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((runs[middle]?.canonicalStart ?? Infinity) <= canonical) low = middle + 1;
    else high = middle;
  }
  const next = runs[low]?.renderedStart ?? renderedBytes;
  const run = runs[low - 1];
  if (run === undefined || canonical - run.canonicalStart > run.byteLength) return next;
  return Math.min(run.renderedStart + canonical - run.canonicalStart, next);
}

interface SegmentAnchor {
  /** Tokens up to and including the one that holds the segment's last byte. */
  tokens: number;
  /** The engine block that holds that token. */
  block: number;
}

interface AnchorInput {
  /** `Chain.ends`. */
  ends: Uint32Array;
  offsets: PromptOffsets;
  /** Byte end of each token in the rendered prompt, rising. */
  tokenEnds: Uint32Array;
  blockTokens: number;
}

/** The anchor of segment i at index i, for the leading segments whose block is a full block of the prompt. */
export function anchorSegments(input: AnchorInput): SegmentAnchor[] {
  const { ends, offsets, tokenEnds, blockTokens } = input;
  const fullBlocks = Math.floor(tokenEnds.length / blockTokens);
  const anchors: SegmentAnchor[] = [];
  let token = 0;
  for (const end of ends) {
    const byte = toRenderedOffset(offsets, end);
    while (token < tokenEnds.length && (tokenEnds[token] ?? 0) < byte) token += 1;
    const block = Math.floor(token / blockTokens);
    if (block >= fullBlocks) break;
    anchors.push({ tokens: token + 1, block });
  }
  return anchors;
}

/** What the engine and the edge's code say about one prompt. */
interface AnchoredRequest {
  chain: Chain;
  pieces: readonly PromptPiece[];
  rendered: string;
  /** As `PromptBlocks` has them. */
  tokenEnds: Uint32Array;
  blockKeys: readonly EngineKey[];
  blockTokens: number;
}

/** Which engine block holds which segment of this prompt, as far as is known; empty when no segment is anchored. */
export function anchorsOf(template: Renderer, prompt: ChatPrompt | TextPrompt, order: TemplateOrder, request: AnchoredRequest): Anchor[] {
  const { chain, pieces, rendered, tokenEnds, blockKeys, blockTokens } = request;
  const offsets =
    "text" in prompt ? textOffsets(prompt.text) : promptOffsets(template, { prompt, order, pieces, rendered, addGenerationPrompt: true });
  if (offsets === null) return [];
  const segments = anchorSegments({ ends: chain.ends, offsets, tokenEnds, blockTokens });
  const anchors: Anchor[] = [];
  for (const [index, { tokens, block }] of segments.entries()) {
    const hash = chain.hashes[index];
    const key = blockKeys[block];
    if (hash === undefined || key === undefined) break;
    anchors.push({ hash, key, tokens });
  }
  return anchors;
}

interface Sentinels {
  next: () => string;
  pattern: RegExp;
}

/** A private-use character that the prompt does not hold, a number, the character again. */
function makeSentinels(rendered: string, pieces: readonly PromptPiece[]): Sentinels | null {
  for (let code = 0xe000; code < 0xe040; code += 1) {
    const char = String.fromCharCode(code);
    if (rendered.includes(char) || pieces.some((piece) => piece.text.includes(char))) continue;
    let count = 0;
    return { next: () => `${char}${count++}${char}`, pattern: new RegExp(`${char}(\\d+)${char}`, "g") };
  }
  return null;
}

function markPrompt(prompt: ChatPrompt, next: () => string): ChatPrompt {
  return {
    tools: prompt.tools.map((tool): Tool => ({ ...tool, function: { ...tool.function, name: tool.function.name + next() } })),
    messages: prompt.messages.map((message): ChatMessage => {
      const { content } = message;
      if (typeof content === "string") return { ...message, content: markText(content, next) };
      return content ? { ...message, content: content.map((part) => markPart(part, next)) } : message;
    }),
  };
}

function markPart(part: ContentPart, next: () => string): ContentPart {
  return part.type === "text" ? { ...part, text: markText(part.text, next) } : part;
}

/** Before the first character that no template trims. */
function markText(text: string, next: () => string): string {
  const from = leadingSpace(text);
  return from === text.length ? text : text.slice(0, from) + next() + text.slice(from);
}

function leadingSpace(text: string): number {
  return text.length - text.trimStart().length;
}

/** For each piece, in canonical order, its sentinel or null. */
function sentinelOrder(marked: ChatPrompt, order: TemplateOrder, pattern: RegExp): (string | null)[] {
  const numbers: (string | null)[] = [];
  canonicalPrompt(marked, order, {
    mark: () => undefined,
    digest: () => "",
    text: (text, kind) => {
      const found = kind === "text" || kind === "tool" ? new RegExp(pattern.source).exec(text) : null;
      numbers.push(found?.[1] ?? null);
    },
  });
  return numbers;
}

/** Sentinel → its place in the rendering without sentinels (UTF-16). null: one came twice, or the rendering is not the same without them. */
function findSentinels(marked: string, rendered: string, pattern: RegExp): Map<string, number> | null {
  const places = new Map<string, number>();
  let removed = 0;
  for (const found of marked.matchAll(pattern)) {
    const number = found[1] ?? "";
    if (places.has(number)) return null;
    places.set(number, found.index - removed);
    removed += found[0].length;
  }
  return marked.replace(pattern, "") === rendered ? places : null;
}

function alignPieces(
  pieces: readonly PromptPiece[],
  numbers: readonly (string | null)[],
  places: ReadonlyMap<string, number>,
  rendered: string,
): PromptOffsets | null {
  const runs: VerbatimRun[] = [];
  let at = 0;
  let atBytes = 0;
  for (const [index, piece] of pieces.entries()) {
    const number = numbers[index] ?? null;
    const place = number === null ? undefined : places.get(number);
    if (place === undefined) continue;
    if (place < at) return null;
    atBytes += Buffer.byteLength(rendered.slice(at, place));
    at = place;
    runs.push(
      piece.kind === "tool"
        ? { canonicalStart: piece.start, renderedStart: atBytes, byteLength: 0 }
        : textRun(piece, rendered, at, atBytes),
    );
  }
  return { runs, renderedBytes: atBytes + Buffer.byteLength(rendered.slice(at)) };
}

function textRun(piece: PromptPiece, rendered: string, at: number, renderedStart: number): VerbatimRun {
  const skipped = leadingSpace(piece.text);
  const text = piece.text.slice(skipped);
  const canonicalStart = piece.start + Buffer.byteLength(piece.text.slice(0, skipped));
  if (rendered.startsWith(text, at)) return { canonicalStart, renderedStart, byteLength: piece.end - canonicalStart };
  return { canonicalStart, renderedStart, byteLength: Buffer.byteLength(text.slice(0, commonLength(text, rendered, at))) };
}

/** UTF-16 units of `text` that stand in `rendered` from `at`; never half a surrogate pair. */
function commonLength(text: string, rendered: string, at: number): number {
  let length = 0;
  while (length < text.length && text.charCodeAt(length) === rendered.charCodeAt(at + length)) length += 1;
  const last = length > 0 ? text.charCodeAt(length - 1) : 0;
  return last >= 0xd800 && last < 0xdc00 ? length - 1 : length;
}
