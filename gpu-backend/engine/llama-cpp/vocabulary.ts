/** Bytes behind the tokens of a "gpt2" vocabulary: where tokens end in a prompt, and what an output token says. */
import { byteOfCharacter } from "../byte-characters.ts";

// llama.cpp's token types: these stand for their own text, not for GPT-2's byte characters.
const controlType = 3;
const userDefinedType = 4;

const tag = /^[<[].*[>\]]$/s;

export interface Vocabulary {
  readonly size: number;
  /** Bytes of text that the longest token stands for. */
  readonly longestBytes: number;
  /** Tokens that are never text. */
  readonly controlTokens: readonly number[];
  /** Texts of control tokens and of tags: read as one token each wherever they stand. */
  readonly marks: readonly string[];
  /** UTF-8 byte offset at which each token ends. */
  ends(tokens: Uint32Array): Uint32Array;
  /** Bytes an output token adds to the text; none for control tokens. */
  outputBytes(token: number): Buffer;
  /** Bytes a token stands for, a control token's name too. */
  bytes(token: number): Buffer;
  /** The text of a token by id; empty when there is none. */
  text(token: number | undefined): string;
}

function bytesOf(text: string, type: number | undefined): Buffer {
  if (type === controlType || type === userDefinedType) return Buffer.from(text, "utf8");
  const bytes: number[] = [];
  for (const character of text) {
    const byte = byteOfCharacter.get(character);
    // A character outside the table means a token stored as plain text.
    if (byte === undefined) return Buffer.from(text, "utf8");
    bytes.push(byte);
  }
  return Buffer.from(bytes);
}

export function readVocabulary(texts: readonly string[], types: readonly number[]): Vocabulary {
  const bytes = texts.map((text, id) => bytesOf(text, types[id]));
  const none = Buffer.alloc(0);
  return {
    size: texts.length,
    longestBytes: bytes.reduce((most, { length }) => Math.max(most, length), 1),
    controlTokens: [...texts.keys()].filter((token) => types[token] === controlType),
    // Other tokens of the vocabulary's makers are words, or runs of spaces.
    marks: texts.filter((text, token) => types[token] === controlType || (types[token] === userDefinedType && tag.test(text))),
    bytes: (token) => bytes[token] ?? none,
    ends(tokens) {
      let end = 0;
      return tokens.map((token) => (end += bytes[token]?.length ?? 0));
    },
    outputBytes: (token) => (types[token] === controlType ? none : (bytes[token] ?? none)),
    text: (token) => (token === undefined ? "" : (texts[token] ?? "")),
  };
}
