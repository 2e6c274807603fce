/** What parent and child process say to each other over Node's IPC channel ("advanced" serialization: typed arrays survive). */
import type {
  BlockChange,
  Counted,
  EngineCard,
  EngineEvent,
  EngineFaults,
  EngineKey,
  EngineLoad,
  EngineRefusal,
  EngineRequest,
  KeyedBlock,
  KvCard,
  Prefilled,
  PreparedKv,
  Restore,
} from "../engine.ts";

/** Deltas a run may have under way before the child leaves it out of the batch. */
export const unacknowledgedDeltaLimit = 64;
/** The parent acknowledges in groups; must be well below the limit, or a run waits for nothing. */
export const acknowledgeEvery = 16;
/** Blocks one message carries; bounds the pause an export makes between two steps. */
export const exportedBlocksLimit = 512;

export interface ChildOptions {
  modelPath: string;
  modelName?: string;
  sequences: number;
  /** Of one sequence. Null: what the model was made for, as far as memory reaches. */
  contextTokens: number | null;
  /** Where contextTokens is null: how much memory the KV of all sequences may take. Null or left out: half of what is free. */
  kvBytes?: number | null;
  blockTokens: number;
  queueLimit: number;
  /** Prefill tokens in one step while other runs decode. */
  prefillChunkTokens: number;
  /** Folder for state files under way; on tmpfs where there is one. */
  scratchDirectory: string;
}

/** A request on its way into the child: its grammar is compiled already. */
export interface ChildRequest extends Omit<EngineRequest, "grammar"> {
  /** null = anything may be written. */
  gbnf: string | null;
}

/** Answered once each. */
export type Question =
  | { type: "count"; prompt: string; cuts: readonly number[] }
  | { type: "prepare"; request: ChildRequest }
  /** Cancelled like a run, by the request's id. */
  | { type: "prefill"; request: ChildRequest; wanted: EngineKey[]; restore: Restore | undefined }
  | { type: "keys"; tokens: Uint32Array; salt: string }
  | { type: "export"; keys: EngineKey[] };

export type Failed = { type: "failed"; message: string };
export type Answer =
  | Counted
  | { type: "exported"; blocks: KeyedBlock[] }
  | { type: "keys"; keys: EngineKey[] }
  | PreparedKv
  | Prefilled
  | EngineRefusal
  | Failed;

export type ParentMessage =
  | { type: "start"; options: ChildOptions }
  | { type: "submit"; request: ChildRequest; restore: Restore | undefined }
  | { type: "ask"; id: number; question: Question }
  | { type: "cancel"; id: string }
  | { type: "acknowledge"; id: string; deltas: number };

export interface RunEvent {
  id: string;
  event: EngineEvent;
}

export type ChildMessage =
  | { type: "ready"; card: EngineCard; kvCard: KvCard }
  | { type: "unavailable"; message: string }
  /** Before it is ready: 0 to 1 of the model's tensors are there. */
  | { type: "loading"; part: number }
  | { type: "answer"; id: number; answer: Answer }
  | { type: "refused"; id: string; refusal: EngineRefusal }
  /** Of a prefill for another replica, by its question: tokens computed or held. */
  | { type: "progress"; id: number; tokens: number }
  /** One step's news. Changes of residency come first: they allowed the events. */
  | { type: "step"; changes: BlockChange[]; events: RunEvent[]; load: EngineLoad; faults: EngineFaults };
