/** Anchors where an engine is in a process of its own: it has to be asked where tokens end, and says what it holds over a way of its own. */
import type { EngineKv, PromptBlocks } from "./engine/engine.ts";

/** What a run computed may be said so long after its end: events are sent after each step, and may have to be asked for again. */
export const BLOCKS_WITHIN_MS = 10_000;

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

/** Ends a run's interest in its blocks once they have come; where the engine says them before its text, that is now. */
export function endInterestOf(kv: EngineKv | null, end: () => void): void {
  if (kv === null || kv.exchange !== null) end();
  else setTimeout(end, BLOCKS_WITHIN_MS).unref();
}
