/**
 * What happens to one pool, as plain data. Every step stands for itself: without any of the others it still means something, so that a
 * history can be shrunk by leaving steps out, printed as code and pasted into a test.
 */
import type { LeaseReport } from "../../../src/pool/frames.ts";
import type { Role } from "../../../src/pool/replica.ts";

/** Tokens of one segment of a prompt. */
export const SEGMENT_TOKENS = 64;
export const BYTES_PER_TOKEN = 4;

/** How one replica really is. */
export interface ReplicaSetup {
  roles?: readonly Role[];
  transfers?: boolean;
  sequences: number;
  queueLimit: number;
  kvTokens: number;
  /** Tokens of its host tier, to which its device evicts; absent: none. */
  hostTokens?: number;
  /** Its times are so many times the pool's. */
  pace: number;
  /** It never says what it holds. */
  silent?: boolean;
  /** Its frames are valid and untrue: nothing is asked of what the pool believes of it. */
  hostile?: boolean;
}

/** How the pool and its replicas really are. */
export interface Setup {
  /** Of the noise. */
  seed: number;
  replicas: readonly ReplicaSetup[];
  /** Times are multiplied by e^x, x uniform in [-noise, noise]. */
  noise: number;
  prefillMsPerToken: number;
  /** A prefill takes as much longer as so many tokens do. */
  constantTokens: number;
  loadMsPerToken: number;
  transferMsPerToken: number;
  /** From a first token to the frames that tell what was computed, ms; below 0: before it. */
  announceMs: number;
  remotePrefillTokens: number | null;
}

/** `count` requests, one every `everyMs`, with ids from `id` on. */
export interface Ask {
  do: "ask";
  id: number;
  count?: number;
  everyMs?: number;
  conversation: number;
  /** Leading tokens that it shares with others of its conversation; the rest is its own. Absent: all. */
  sharedTokens?: number;
  tokens: number;
  outputTokens: number;
  /** From its coming, ms. */
  deadlineMs?: number;
  priority?: "high" | "low";
  tenant?: number;
  tpotMs?: number;
  counts?: boolean;
  bytesPerToken?: number;
  /** Its client leaves after so long without a first token, ms. */
  patienceMs?: number;
  /** Number of a replica that failed it before. */
  failed?: number;
  /** The edge never gets the first answer, and asks again without a word of it. */
  losesAnswer?: boolean;
  /** What it really takes, where that is odd, ms. */
  takes?: { prefillMs?: number; transferMs?: number; loadMs?: number };
}

/** Distributive, so that a report stays one of the kinds. */
type Untitled<Report> = Report extends unknown ? Omit<Report, "id" | "attempt"> : never;

export type Step =
  | { do: "pass"; ms: number }
  /** Hours in which nobody asks for anything. */
  | { do: "idle"; ms: number }
  /** The wall clock is set. */
  | { do: "jump"; ms: number }
  | Ask
  /** The client of a request leaves. */
  | { do: "leave"; id: number }
  /** Its process ends; its memory is gone. */
  | { do: "die"; replica: number }
  /** Its process ends and begins again. */
  | { do: "restart"; replica: number; afterMs: number }
  /** Its socket closes and is opened again. */
  | { do: "cut"; replica: number; ms: number }
  /** Nothing happens in its process. */
  | { do: "freeze"; replica: number; ms: number }
  /** Its prefill goes on for so long; it still says that it is alive. */
  | { do: "hang"; replica: number; ms: number }
  | { do: "drain"; replica: number }
  /** The next of its residency frames are lost. */
  | { do: "lose"; replica: number; frames: number }
  | { do: "evict"; replica: number; tokens: number }
  /** It holds, or gives up, entries number `from` … `from + count - 1` of its own. */
  | { do: "fill" | "empty"; replica: number; from: number; count: number; sameDepth?: boolean }
  /** A prompt comes by that consists of such entries. */
  | { do: "use"; id: number; replica: number; from: number; count: number }
  /** A report of a hostile replica, of a lease of its own, of another's, or of one that is nobody's. */
  | { do: "report"; replica: number; of: "own" | "other" | "nobody"; times?: number; report: Untitled<LeaseReport> }
  /** A hostile replica says hello again, with so many requests that nobody gave it, or beats with such numbers. */
  | { do: "hello"; replica: number; running: number; sequences?: number }
  | { do: "beat"; replica: number; outputTokens: number; entries: number; usedKvTokens: number }
  | { do: "checkpoint" }
  /** The pool's memory is gone; it has its last checkpoint. */
  | { do: "forget" };

export interface History {
  setup: Setup;
  steps: readonly Step[];
}

/** As code for a test: `expect(play(…)).toEqual([])`. */
export function codeOf({ setup, steps }: History): string {
  const code = (value: unknown): string =>
    JSON.stringify(value)
      .replaceAll(/"([A-Za-z]+)":/g, "$1: ")
      .replaceAll(",", ", ")
      .replaceAll("{", "{ ")
      .replaceAll("}", " }");
  return [`play({`, `  setup: ${code(setup)},`, `  steps: [`, ...steps.map((step) => `    ${code(step)},`), `  ],`, `})`].join("\n");
}
