/** Anchors of a prompt whose engine has to ask where its tokens end: the run goes on meanwhile. */
import type { PromptBlocks } from "./engine/engine.ts";

/** @param add anchors the prompt, and gives the function that ends the run's interest. Returns one that may be called before that is there. */
export function onceKnown(tokenEnds: PromptBlocks["tokenEnds"], add: (ends: Uint32Array | null) => () => void): () => void {
  if (tokenEnds instanceof Uint32Array) return add(tokenEnds);
  let hasEnded = false;
  let end = (): void => undefined;
  void tokenEnds.then((ends) => {
    end = add(ends);
    if (hasEnded) end();
  });
  return () => {
    hasEnded = true;
    end();
  };
}
