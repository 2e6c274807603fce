/** The control tokens of a model whose vocabulary is not listed: texts in its chat template that are one token each. */
import type { ServerLink } from "./server-link.ts";
import { tokenize } from "./discovery.ts";

/** Templates have a dozen. */
const MAX_MARKS = 64;
const MARK_MS = 2_000;
/** `<|im_end|>`, `</s>`, `<start_of_turn>`, `[INST]`, and DeepSeek's with full-width bars. */
const CANDIDATE = /<[|｜]?[^\s<>'"{}()]{1,62}[|｜]?>|\[\/?[A-Z_]{2,30}\]/gu;

/** A text that the server does not tokenize in time counts as a control token. A prompt text is then split without need, which does no harm. */
export async function marksOf(link: ServerLink, model: string, chatTemplate: string): Promise<string[]> {
  const candidates = [...new Set(chatTemplate.match(CANDIDATE) ?? [])].slice(0, MAX_MARKS);
  const tokens = await Promise.all(candidates.map((mark) => tokenize(link, model, { text: mark, opens: false }, MARK_MS)));
  return candidates.filter((_, index) => (tokens[index]?.length ?? 1) === 1);
}
