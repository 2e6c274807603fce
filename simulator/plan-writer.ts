import { type Draw, drawHash, exponential } from "./chance.ts";
import { type Plan, type PlannedRequest, TreeBuilder } from "./plan.ts";

/** Most tokens of a segment. The end of a message ends a segment too. */
const SEGMENT_TOKENS = 256;

/** A growing prompt. */
export class Thread {
  readonly segments: number[];
  tokens: number;

  constructor(segments: number[] = [], tokens = 0) {
    this.segments = segments;
    this.tokens = tokens;
  }

  /** Another one that begins with all of this one. */
  fork(): Thread {
    return new Thread([...this.segments], this.tokens);
  }
}

export interface Asking {
  session: string | null;
  outputTokens: number;
  /** When it comes, for a first request; else what it follows, and so many ms after the last of them. */
  when: { at: number } | { after: readonly number[]; gapMs: number };
}

/** Writes a plan request by request. All chance comes from its draw. */
export class PlanWriter {
  readonly draw: Draw;
  readonly requests: PlannedRequest[] = [];
  readonly #tree = new TreeBuilder();
  #clock = 0;

  constructor(draw: Draw) {
    this.draw = draw;
  }

  /** The next arrival of a Poisson process, in the plan's time (`paced` gives it a rate). */
  nextAt(): number {
    this.#clock += exponential(this.draw, 1);
    return this.#clock;
  }

  /** New text behind a thread's. */
  append(thread: Thread, tokens: number): void {
    for (let left = tokens; left > 0; left -= SEGMENT_TOKENS) {
      const segment = this.#tree.add(thread.segments.at(-1) ?? -1, drawHash(this.draw), Math.min(left, SEGMENT_TOKENS));
      thread.segments.push(segment);
    }
    thread.tokens += tokens;
  }

  /** Asks with the thread as it is and writes the answer behind it; the request's id. */
  ask(thread: Thread, { session, outputTokens, when }: Asking): number {
    const id = this.requests.length;
    const promptSegments = thread.segments.length;
    const promptTokens = thread.tokens;
    this.append(thread, outputTokens);
    const path = Int32Array.from(thread.segments);
    const chain = BigUint64Array.from(path.subarray(0, promptSegments), (segment) => this.#tree.hashOf(segment));
    const timing = "at" in when ? { at: when.at, after: [], gapMs: 0 } : { at: null, ...when };
    this.requests.push({ id, session, ...timing, promptTokens, outputTokens, path, promptSegments, chain });
    return id;
  }

  plan(name: string): Plan {
    return { name, tree: this.#tree.build(), requests: this.requests };
  }
}
