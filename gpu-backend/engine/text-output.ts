/** Turns a run's output tokens into text that may be sent: whole characters, nothing from a stop string on. */
import { StringDecoder } from "node:string_decoder";

/** Length of the longest end of `text` that begins one of the stop strings, i.e. may still become it. */
function heldBackLength(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}

export class TextOutput {
  readonly #decoder = new StringDecoder("utf8");
  readonly #stops: readonly string[];
  #pending = "";
  #stopText: string | null = null;
  #told = 0;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** A stop string has come; nothing more will be said. */
  get stopped(): boolean {
    return this.#stopText !== null;
  }

  /** The stop string that has come. */
  get stopText(): string | null {
    return this.#stopText;
  }

  /** Length of the text given out so far. */
  get told(): number {
    return this.#told;
  }

  /** Length of all text so far, with what is held back. */
  get decoded(): number {
    return this.#told + this.#pending.length;
  }

  /** Text that is now certain; may be empty. */
  push(bytes: Buffer): string {
    return this.#advance(this.#decoder.write(bytes), false);
  }

  /** What was still held back. A cut character comes out as U+FFFD. */
  end(): string {
    return this.#advance(this.#decoder.end(), true);
  }

  #advance(text: string, last: boolean): string {
    if (this.stopped) return "";
    this.#pending += text;
    let length = this.#pending.length;
    for (const stop of this.#stops) {
      const index = this.#pending.indexOf(stop);
      if (index < 0 || (this.stopped && index >= length)) continue;
      length = index;
      this.#stopText = stop;
    }
    if (!this.stopped && !last) length -= heldBackLength(this.#pending, this.#stops);
    const certain = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    this.#told += length;
    return certain;
  }
}
