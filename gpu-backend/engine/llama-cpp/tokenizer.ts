/**
 * A prompt into tokens, a slice at a time. llama.cpp tokenizes on the thread that calls it, some 1.5 MB a second, and the engine's steps begin on
 * the same thread: a long prompt in one piece would hold up everybody. Between two slices the steps go on.
 *
 * A slice ends where every byte-level BPE splits words anyway, between a letter and the space before the next one, so the tokens are those of the
 * whole. In a run without such a place a slice ends at its full length: the same prompt is always cut the same, and so is what begins like it.
 */
import type { AddonModel } from "./binding.ts";
import type { Turns } from "./turns.ts";

/** From here on a slice ends at the next good place, UTF-16 units; 10 to 20 ms. */
const SLICE_UNITS = 16_384;
/** And here in any case. */
const MAX_SLICE_UNITS = 32_768;
const GOOD_PLACE = /[A-Za-z](?=[ \n][A-Za-z])/g;

/** `too_many`: more than were to be made; there are at least `atLeast`. */
export type Tokenized = { type: "tokens"; tokens: Uint32Array } | { type: "too_many"; atLeast: number };

export class Tokenizer {
  readonly #model: Pick<AddonModel, "tokenize">;
  readonly #marks: readonly string[];
  readonly #longestMark: number;
  readonly #turns: Turns;

  /** `marks`: texts that are one token each wherever they stand. */
  constructor(model: Pick<AddonModel, "tokenize">, marks: readonly string[], turns: Turns) {
    this.#model = model;
    this.#marks = marks;
    this.#longestMark = marks.reduce((most, mark) => Math.max(most, mark.length), 0);
    this.#turns = turns;
  }

  /** The tokens of a prompt that is cut at `cuts` (UTF-16 offsets, rising): no token spans one. It stops soon after `most` tokens. */
  async tokens(prompt: string, cuts: readonly number[] = [], most = Infinity): Promise<Tokenized> {
    const pieces: Uint32Array[] = [];
    let count = 0;
    const turn = this.#turns.begin();
    for (const [from, to] of this.#slices(prompt, cuts)) {
      if (turn.isOver) await turn.next();
      const piece = this.#model.tokenize(prompt.slice(from, to), true);
      pieces.push(piece);
      count += piece.length;
      if (count > most) return { type: "too_many", atLeast: count };
    }
    const tokens = new Uint32Array(count);
    let at = 0;
    for (const piece of pieces) {
      tokens.set(piece, at);
      at += piece.length;
    }
    return { type: "tokens", tokens };
  }

  *#slices(prompt: string, cuts: readonly number[]): Generator<[from: number, to: number]> {
    let from = 0;
    for (const cut of [...cuts, prompt.length]) {
      while (from < cut) {
        const to = cut - from <= MAX_SLICE_UNITS ? cut : this.#endOfSlice(prompt, from);
        yield [from, to];
        from = to;
      }
    }
  }

  #endOfSlice(prompt: string, from: number): number {
    // The text is looked at no further than a slice may go.
    const window = prompt.slice(from + SLICE_UNITS - 1, from + MAX_SLICE_UNITS + 1);
    for (const { index } of window.matchAll(GOOD_PLACE)) {
      const end = from + SLICE_UNITS + index;
      if (this.#markAround(prompt, end) === null) return end;
    }
    const end = from + MAX_SLICE_UNITS;
    const unit = prompt.charCodeAt(end);
    // The second half of a surrogate pair stays with the first.
    return this.#markAround(prompt, end) ?? (unit >= 0xdc00 && unit <= 0xdfff ? end - 1 : end);
  }

  /** Where the mark begins that a cut here would part. */
  #markAround(prompt: string, end: number): number | null {
    const start = end - this.#longestMark;
    const around = prompt.slice(Math.max(0, start), end + this.#longestMark);
    const at = end - Math.max(0, start);
    for (const mark of this.#marks) {
      for (let found = around.indexOf(mark); found !== -1 && found < at; found = around.indexOf(mark, found + 1)) {
        if (found + mark.length > at) return end - at + found;
      }
    }
    return null;
  }
}
