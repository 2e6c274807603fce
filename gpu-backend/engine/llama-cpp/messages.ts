/** What parent and child process say to each other over Node's IPC channel ("advanced" serialization: typed arrays survive). */
import type { BlockChange, EngineCard, EngineEvent, EngineLoad, EngineRefusal, EngineRequest } from "../engine.ts";

/** Deltas a run may have under way before the child leaves it out of the batch. */
export const unacknowledgedDeltaLimit = 64;
/** The parent acknowledges in groups; must be well below the limit, or a run waits for nothing. */
export const acknowledgeEvery = 16;

export interface ChildOptions {
  modelPath: string;
  modelName?: string;
  sequences: number;
  /** Of one sequence. */
  contextTokens: number;
  blockTokens: number;
  queueLimit: number;
  /** Prefill tokens in one step while other runs decode. */
  prefillChunkTokens: number;
  /** Folder for state files under way; on tmpfs where there is one. */
  scratchDirectory: string;
}

export type ParentMessage =
  | { type: "start"; options: ChildOptions }
  | { type: "submit"; request: EngineRequest }
  | { type: "count"; id: number; prompt: string }
  | { type: "cancel"; id: string }
  | { type: "acknowledge"; id: string; deltas: number };

export interface RunEvent {
  id: string;
  event: EngineEvent;
}

export type ChildMessage =
  | { type: "ready"; card: EngineCard }
  | { type: "unavailable"; message: string }
  | { type: "counted"; id: number; tokens: number }
  | { type: "refused"; id: string; refusal: EngineRefusal }
  /** One step's news. Changes of residency come first: they allowed the events. */
  | { type: "step"; changes: BlockChange[]; events: RunEvent[]; load: EngineLoad };
