/**
 * Where each token of a prompt ends, in bytes. vLLM gives a token's text as its vocabulary spells it, and vocabularies spell in two ways: a
 * character for each byte (GPT-2's), or text with "▁" for a space (SentencePiece's). Each spelling is tried against the prompt itself, so a
 * wrong one is found out, and then nothing is said.
 */
import { BoundedMap } from "../../../src/bounded-map.ts";
import { byteOfCharacter } from "../byte-characters.ts";

/** The largest vocabularies have 262,144 tokens. */
const MAX_TEXTS = 1 << 19;

interface TokenizedPrompt {
  prompt: string;
  /** UTF-16 offsets at which a token ends for certain. */
  cuts: readonly number[];
  tokens: readonly number[];
}

export class TokenTexts {
  readonly #spellings = new BoundedMap<number, readonly Uint8Array[]>(MAX_TEXTS);

  /** `texts`: of each token, as the server spells it. */
  learn(tokens: readonly number[], texts: readonly string[]): void {
    for (const [index, token] of tokens.entries()) {
      const text = texts[index];
      if (text !== undefined && !this.#spellings.has(token)) this.#spellings.set(token, spellingsOf(text));
    }
  }

  /** unknown: of some token the text is not known yet. other: the tokens' texts are not the prompt's. */
  endsOf({ prompt, cuts, tokens }: TokenizedPrompt): Uint32Array | "unknown" | "other" {
    if (tokens.some((token) => !this.#spellings.has(token))) return "unknown";
    const bytes = Buffer.from(prompt);
    const starts = new Set([0, ...cuts.map((cut) => Buffer.byteLength(prompt.slice(0, cut)))]);
    const ends = new Uint32Array(tokens.length);
    let at = 0;
    for (const [index, token] of tokens.entries()) {
      const length = lengthAt(bytes, at, this.#spellings.get(token) ?? [], starts.has(at));
      // What the server puts before a prompt has no text in it.
      if (length === null && at > 0) return "other";
      at += length ?? 0;
      ends[index] = at;
    }
    return at === bytes.length ? ends : "other";
  }
}

const SPACE = 0x20;

/** Null: none of the spellings stands there. SentencePiece puts a space before a text. */
function lengthAt(bytes: Buffer, at: number, spellings: readonly Uint8Array[], startsPiece: boolean): number | null {
  for (const spelling of spellings) {
    if (standsAt(bytes, at, spelling)) return spelling.length;
    if (startsPiece && spelling[0] === SPACE && standsAt(bytes, at, spelling.subarray(1))) return spelling.length - 1;
  }
  return null;
}

function standsAt(bytes: Buffer, at: number, spelling: Uint8Array): boolean {
  return bytes.length - at >= spelling.length && bytes.compare(spelling, 0, spelling.length, at, at + spelling.length) === 0;
}

function spellingsOf(text: string): Uint8Array[] {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
  const spelt = Array.from(text, (character) => byteOfCharacter.get(character));
  const bytewise = spelt.every((value) => value !== undefined) ? [Uint8Array.from(spelt)] : [];
  return [...bytewise, Buffer.from(text), byte === undefined ? Buffer.from(text.replaceAll("▁", " ")) : Buffer.from(byte, "hex")];
}
