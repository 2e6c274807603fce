/** What an engine behind another server's API holds, where its events are followed. */
import type { EngineKey, EngineKv, PromptBlocks } from "../engine.ts";
import type { KvEventCounts, ResidencyState } from "../residency-state.ts";

/** A prompt whose tokens are known. */
export interface PromptRead {
  /** The text of which they are the tokens. */
  prompt: string;
  cuts: readonly number[];
  tokens: readonly number[];
}

export interface Followed {
  readonly kv: EngineKv;
  state(): ResidencyState;
  counts(): KvEventCounts;
  /** Of a prompt's full blocks. */
  keysOf(tokens: readonly number[], salt: string): EngineKey[];
  /** Leading tokens that it holds. */
  heldTokens(keys: readonly EngineKey[], promptTokens: number): number;
  /** Asks the server for what is not known; the request does not wait for it. */
  tokenEnds(read: PromptRead): PromptBlocks["tokenEnds"];
  /** The server was seen to go: nothing that it held counts any more. */
  lost(): void;
  close(): void;
}
