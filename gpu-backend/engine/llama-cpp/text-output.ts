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
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** A stop string has come; nothing more will be said. */
  get stopped(): boolean {
    return this.#stopped;
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
    if (this.#stopped) return "";
    this.#pending += text;
    const found = this.#stops.map((stop) => this.#pending.indexOf(stop)).filter((index) => index >= 0);
    if (found.length > 0) this.#stopped = true;
    let length = this.#pending.length;
    if (this.#stopped) length = Math.min(...found);
    else if (!last) length -= heldBackLength(this.#pending, this.#stops);
    const certain = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    return certain;
  }
}
