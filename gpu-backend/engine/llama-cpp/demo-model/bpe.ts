/** Trains a byte-level BPE vocabulary (GPT-2's scheme with Qwen 2's word splitter), the kind llama.cpp loads as model "gpt2", pre "qwen2". */
import { byteCharacters } from "../../byte-characters.ts";

/** Same pieces as llama.cpp's LLAMA_VOCAB_PRE_TYPE_QWEN2. Merges never cross a piece. */
const wordPattern =
  /(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

export interface BpeVocabulary {
  /** Token strings by id: 256 bytes, then one per merge. */
  tokens: string[];
  /** "left right", best first. */
  merges: string[];
}

interface Word {
  pieces: number[];
  count: number;
}

// Pairs are numbers: ids stay far below 2^16.
const pairOf = (left: number, right: number) => left * 65_536 + right;

class PairCounts {
  readonly counts = new Map<number, number>();
  readonly #words = new Map<number, Set<Word>>();

  add(word: Word): void {
    this.#each(word, (pair) => {
      this.counts.set(pair, (this.counts.get(pair) ?? 0) + word.count);
      let words = this.#words.get(pair);
      if (words === undefined) this.#words.set(pair, (words = new Set()));
      words.add(word);
    });
  }

  remove(word: Word): void {
    this.#each(word, (pair) => {
      const left = (this.counts.get(pair) ?? 0) - word.count;
      if (left > 0) this.counts.set(pair, left);
      else this.counts.delete(pair);
    });
  }

  /** The most frequent pair, the smaller on a tie so that the result does not depend on map order; undefined when none occurs twice. */
  best(): number | undefined {
    let best: number | undefined;
    let bestCount = 1;
    for (const [pair, count] of this.counts) {
      if (count > bestCount || (count === bestCount && best !== undefined && pair < best)) {
        best = pair;
        bestCount = count;
      }
    }
    return best;
  }

  wordsWith(pair: number): Word[] {
    const words = [...(this.#words.get(pair) ?? [])];
    this.#words.delete(pair);
    return words;
  }

  #each(word: Word, visit: (pair: number) => void): void {
    for (let i = 0; i + 1 < word.pieces.length; i++) visit(pairOf(word.pieces[i] ?? 0, word.pieces[i + 1] ?? 0));
  }
}

function mergeIn(pieces: readonly number[], left: number, right: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] ?? 0;
    if (piece === left && pieces[i + 1] === right) {
      out.push(merged);
      i++;
    } else out.push(piece);
  }
  return out;
}

/** At most `size` tokens; fewer when the text runs out of repeated pairs. */
export function trainBpe(text: string, size: number): BpeVocabulary {
  const counts = new Map<string, number>();
  for (const [word] of text.matchAll(wordPattern)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const pairs = new PairCounts();
  for (const [word, count] of counts) pairs.add({ pieces: [...Buffer.from(word, "utf8")], count });
  const tokens = [...byteCharacters];
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const merges: string[] = [];
  while (tokens.length < size) {
    const best = pairs.best();
    if (best === undefined) break;
    const left = Math.floor(best / 65_536);
    const right = best % 65_536;
    const merged = `${tokens[left]}${tokens[right]}`;
    merges.push(`${tokens[left]} ${tokens[right]}`);
    // Two merges may spell the same token; it keeps its first id.
    const id = idOf.get(merged) ?? tokens.push(merged) - 1;
    idOf.set(merged, id);
    for (const word of pairs.wordsWith(best)) {
      pairs.remove(word);
      word.pieces = mergeIn(word.pieces, left, right, id);
      pairs.add(word);
    }
    pairs.counts.delete(best);
  }
  return { tokens, merges };
}
