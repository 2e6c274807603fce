import type { Hash64 } from "./chain.ts";
import { type ChatPrompt, type PieceKind, type PromptSink, type TextPrompt, canonicalPrompt } from "./prompt.ts";
import type { TemplateOrder } from "./segment.ts";

/** A text of the canonical prompt and where its bytes lie; the mark is the byte before `start`. */
export interface PromptPiece {
  kind: PieceKind;
  start: number;
  end: number;
  text: string;
}

const FIRST_BYTES = 65_536;
/** A buffer that one huge prompt made is not kept for the small ones after it. */
const KEPT_BYTES = 2_097_152;
/** No UTF-16 unit needs more. */
const MAX_BYTES_PER_UNIT = 3;
/** Up to here (roles, names) a loop beats the call of encodeInto. */
const SHORT_UNITS = 24;

/**
 * Encodes canonical prompts into one buffer that it keeps. Not reentrant: use the bytes before the next `encode`.
 * A lone surrogate becomes U+FFFD, as everywhere in UTF-8.
 */
export class PromptEncoder implements PromptSink {
  /** Filled by `encode` if asked for (the replica needs them to anchor, the edge does not). */
  readonly pieces: PromptPiece[] = [];
  readonly #hash64: Hash64;
  readonly #record: boolean;
  readonly #encoder = new TextEncoder();
  #buffer = new Uint8Array(FIRST_BYTES);
  #length = 0;

  constructor(hash64: Hash64, options: { recordPieces?: boolean } = {}) {
    this.#hash64 = hash64;
    this.#record = options.recordPieces ?? false;
  }

  /** The canonical bytes; a view that the next `encode` overwrites. */
  encode(prompt: ChatPrompt | TextPrompt, order: TemplateOrder): Uint8Array {
    this.#length = 0;
    this.pieces.length = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = new Uint8Array(FIRST_BYTES);
    canonicalPrompt(prompt, order, this);
    return this.bytes;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  mark(byte: number): void {
    if (this.#length === this.#buffer.length) this.#grow(1);
    this.#buffer[this.#length] = byte;
    this.#length += 1;
  }

  text(text: string, kind: PieceKind): void {
    const start = this.#length;
    this.#write(text);
    if (this.#record) this.pieces.push({ kind, start, end: this.#length, text });
  }

  digest(text: string): string {
    const start = this.#length;
    this.#write(text);
    const hash = this.#hash64(this.#buffer.subarray(start, this.#length), 0n);
    this.#length = start;
    return hash.toString(16).padStart(16, "0");
  }

  /** Most text is ASCII: try with what there is, make room for the worst case of the rest only when it did not fit. */
  #write(text: string): void {
    if (this.#buffer.length - this.#length < text.length) this.#grow(text.length);
    if (text.length <= SHORT_UNITS && this.#writeAscii(text)) return;
    const { read, written } = this.#encoder.encodeInto(text, this.#buffer.subarray(this.#length));
    this.#length += written;
    if (read === text.length) return;
    const rest = text.slice(read);
    this.#grow(rest.length * MAX_BYTES_PER_UNIT);
    this.#length += this.#encoder.encodeInto(rest, this.#buffer.subarray(this.#length)).written;
  }

  /** False where the text is not ASCII; then nothing is written. */
  #writeAscii(text: string): boolean {
    const start = this.#length;
    for (let index = 0; index < text.length; index += 1) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) return false;
      this.#buffer[start + index] = unit;
    }
    this.#length = start + text.length;
    return true;
  }

  #grow(bytes: number): void {
    const larger = new Uint8Array(Math.max(this.#length + bytes, this.#buffer.length * 2));
    larger.set(this.bytes);
    this.#buffer = larger;
  }
}
