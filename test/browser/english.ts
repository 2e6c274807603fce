const SMALL = new Set("the of and a an to in is was it that for on as with by at from which this are be or its".split(" "));

/** Share of the words that are such: a third or more of English prose, of word salad next to nothing. */
export function smallWordsOf(text: string): number {
  const words = text.toLowerCase().match(/[a-z']+/g) ?? [];
  return words.filter((word) => SMALL.has(word)).length / Math.max(1, words.length);
}
