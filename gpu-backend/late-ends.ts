/** Anchors for an engine behind a server: the server is asked where tokens end, and its blocks are reported over another connection. */
import type { EngineKv, PromptBlocks } from "./engine/engine.ts";

/** Blocks of a run are expected until this long after its end: events follow each step, and lost ones are asked for again. */
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
