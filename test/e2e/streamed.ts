/** A long answer that is read while something happens to those who write it. */
import type { Started } from "./started.ts";

/** All of the stream's text; the tenth of a second that it takes to begin is over. */
export async function streamOf(
  product: Pick<Started, "url" | "headers" | "model">,
  maxTokens: number,
): Promise<{ begun: Promise<void>; text: Promise<string> }> {
  const response = await fetch(`${product.url}/v1/chat/completions`, {
    method: "POST",
    headers: product.headers,
    body: JSON.stringify({
      model: product.model,
      stream: true,
      temperature: 0,
      max_tokens: maxTokens,
      // The end of a turn.
      logit_bias: { "2045": -100 },
      messages: [{ role: "user", content: `Tell me everything, ${Math.random()}.` }],
    }),
  });
  const begun = Promise.withResolvers<void>();
  const read = async (): Promise<string> => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const part of response.body ?? []) {
      text += decoder.decode(part, { stream: true });
      if (text.includes('"content"')) begun.resolve();
    }
    return text;
  };
  const text = read();
  // A cut is for those to see who await it.
  text.catch(() => undefined);
  return { begun: begun.promise, text };
}
