/** Sentences of a Markdown page, for the tests of its language. */

const isTableRow = (line: string): boolean => line.trimStart().startsWith("|");
const LIST_ITEM = /^\s*(?:[-*]|\d+\.)\s+/;
/** A sentence ends at a full stop, question or exclamation mark before a capital, a number, code, or an opening bracket or quote. */
const SENTENCE_END = /(?<=[.!?][)"'”]*)\s+(?=[A-Z0-9`("'“[])/;

/** Text as it is read: a link is its words, code one word, and emphasis nothing. */
function asRead(text: string): string {
  return text
    .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replaceAll(/`[^`]*`/g, "`code`")
    .replaceAll(/\*\*|(?<!\w)[*_]|[*_](?!\w)/g, "");
}

/** Paragraphs and list items, in order; without headings, tables and code. */
function paragraphs(markdown: string): string[] {
  const found: string[] = [];
  let open: string[] = [];
  let isCode = false;
  const close = (): void => {
    if (open.length > 0) found.push(open.join(" "));
    open = [];
  };
  for (const line of markdown.split("\n")) {
    const isFence = line.trimStart().startsWith("```");
    if (isFence) isCode = !isCode;
    if (isCode || isFence || line.trim() === "" || line.startsWith("#") || line.startsWith("    ") || isTableRow(line)) {
      close();
      continue;
    }
    if (LIST_ITEM.test(line)) close();
    open.push(line.replace(LIST_ITEM, "").trim());
  }
  close();
  return found;
}

export const sentencesOf = (markdown: string): string[] =>
  paragraphs(markdown).flatMap((paragraph) => asRead(paragraph).split(SENTENCE_END));

/** Words with a letter or a digit in them. */
export const wordsOf = (sentence: string): number => sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
