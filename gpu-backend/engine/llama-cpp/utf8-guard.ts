/**
 * Which tokens a constrained answer may not take next, so that its bytes stay valid UTF-8 (RFC 3629).
 *
 * llama.cpp matches grammars against code points that its decoder makes of the bytes. That decoder takes overlong forms (E0 82 80 for U+0080),
 * and inside one token any byte for a continuation. The grammar itself refuses what it can see: surrogates and what lies above U+10FFFF.
 */
import type { Vocabulary } from "./vocabulary.ts";

/** Bytes that begin a character; 0 for one that can't. */
function lengthOf(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

/** What the byte after this lead may be, both ends included. */
function second(lead: number): [least: number, most: number] {
  if (lead === 0xe0) return [0xa0, 0xbf];
  if (lead === 0xed) return [0x80, 0x9f];
  if (lead === 0xf0) return [0x90, 0xbf];
  return [0x80, lead === 0xf4 ? 0x8f : 0xbf];
}

/** A character under way: how many bytes it still wants, and what the next may be. */
interface Pending {
  missing: number;
  least: number;
  most: number;
}

const none: Pending = { missing: 0, least: 0, most: 0 };

/** What is under way behind the bytes; undefined when they are not UTF-8. */
function advance(before: Pending, bytes: Uint8Array): Pending | undefined {
  let { missing, least, most } = before;
  for (const byte of bytes) {
    if (missing > 0) {
      if (byte < least || byte > most) return undefined;
      missing -= 1;
      [least, most] = [0x80, 0xbf];
      continue;
    }
    const length = lengthOf(byte);
    // llama.cpp reads a token as a C string: it does not see what stands behind a zero byte.
    if (length === 0 || byte === 0) return undefined;
    missing = length - 1;
    [least, most] = second(byte);
  }
  return missing === 0 ? none : { missing, least, most };
}

const nameOf = ({ missing, least, most }: Pending) => `${missing} ${least} ${most}`;

/** One for a vocabulary; the tokens barred at each of the few states are found once. */
export class Utf8Guard {
  readonly #vocabulary: Vocabulary;
  readonly #barred = new Map<string, readonly number[]>();

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  begin(): Utf8State {
    return new Utf8State(this.#vocabulary, (pending) => this.#barredAt(pending));
  }

  #barredAt(pending: Pending): readonly number[] {
    const name = nameOf(pending);
    let barred = this.#barred.get(name);
    if (barred === undefined) {
      barred = Array.from({ length: this.#vocabulary.size }, (_, token) => token).filter(
        (token) => advance(pending, this.#vocabulary.outputBytes(token)) === undefined,
      );
      this.#barred.set(name, barred);
    }
    return barred;
  }
}

/** How far one answer is. */
export class Utf8State {
  readonly #vocabulary: Vocabulary;
  readonly #barredAt: (pending: Pending) => readonly number[];
  #pending: Pending = none;

  constructor(vocabulary: Vocabulary, barredAt: (pending: Pending) => readonly number[]) {
    this.#vocabulary = vocabulary;
    this.#barredAt = barredAt;
  }

  /** The same list for the same state. */
  get barred(): readonly number[] {
    return this.#barredAt(this.#pending);
  }

  /** False, and nothing changes, when the token's bytes break the text. */
  accept(token: number): boolean {
    const next = advance(this.#pending, this.#vocabulary.outputBytes(token));
    if (next !== undefined) this.#pending = next;
    return next !== undefined;
  }
}
