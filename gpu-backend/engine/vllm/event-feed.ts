/**
 * Puts the batches of one vLLM engine in order: live ones come over a socket that loses what nobody reads, and what was lost is asked for
 * again. Pure: it says what to do, and the sockets are its caller's.
 *
 * Example: batches 0, 1, 4 come live → {replay from 2}; 2 and 3 come again, then the end → apply 2, 3, 4.
 */
import type { EventMessage } from "./event-frames.ts";
import { type KvBatch, readBatch } from "./kv-events.ts";

export type FeedStep =
  | { type: "apply"; batch: KvBatch }
  /** Nothing that was applied before counts any more. */
  | { type: "forget" }
  /** Ask for all batches from this one on, and report what comes by `replayed`, or `replayFailed` once the time is up. */
  | { type: "replay"; from: number };

/**
 * Why what was applied may be less than what the engine holds. history: batches are lost for good; malformed: a batch or an event could
 * not be read; unknown: an event's type or medium is not known here.
 */
export type Gap = "history" | "malformed" | "unknown";

/** exact: all that the engine announced is applied. catching-up: a replay is under way. partial: some of it is missing, see `gap`. */
export type FeedState = "exact" | "catching-up" | "partial";

export interface FeedCounts {
  batches: number;
  malformed: number;
  unknown: number;
  replays: number;
  restarts: number;
}

/** Live batches that wait for a replay; vLLM keeps 10,000 to send again. */
const MOST_WAITING = 10_000;
const MOST_WAITING_BYTES = 32 * 1024 * 1024;

type Batch = Extract<EventMessage, { type: "batch" }>;

export class EventFeed {
  readonly counts: FeedCounts = { batches: 0, malformed: 0, unknown: 0, replays: 0, restarts: 0 };
  /** The next batch to apply. */
  #next = 0;
  /** The newest live batch, of this life of the engine; -1: none yet. */
  #newest = -1;
  /** Time of the newest batch that was applied, s by the engine's clock. */
  #appliedAt = -Infinity;
  #gap: Gap | null = null;
  /** Where the last replay began. */
  #askedFrom = 0;
  /** Live batches behind `next`, while a replay is under way; null: none is. */
  #waiting: Batch[] | null = null;
  #waitingBytes = 0;

  get state(): FeedState {
    if (this.#waiting !== null) return "catching-up";
    return this.#gap === null ? "exact" : "partial";
  }

  /** Null: nothing is missing, once no replay is under way. */
  get gap(): Gap | null {
    return this.#gap;
  }

  /** The live socket is subscribed, so nothing is lost from now on; what came before is asked for. */
  begin(): FeedStep[] {
    return [this.#askAgain()];
  }

  /** Known by other means, for example the process's start time: sequence numbers alone do not show a restart that went unseen for long. */
  restarted(): FeedStep[] {
    this.counts.restarts += 1;
    this.#next = 0;
    this.#newest = -1;
    this.#appliedAt = -Infinity;
    this.#gap = null;
    this.#waiting = null;
    return [{ type: "forget" }, this.#askAgain()];
  }

  /** A message of the live socket. */
  live(message: EventMessage): FeedStep[] {
    // Its number is missing then, and the next message shows that.
    if (message.type === "malformed") this.counts.malformed += 1;
    if (message.type !== "batch") return [];
    const steps = this.#isOfAnotherLife(message) ? this.restarted() : [];
    this.#newest = message.seq;
    if (this.#waiting !== null) {
      this.#wait(message);
      return steps;
    }
    // The replay was quicker.
    if (message.seq < this.#next) return [];
    if (message.seq === this.#next) return this.#apply(message);
    const replay = this.#askAgain();
    this.#wait(message);
    return [replay];
  }

  /** A message of the replay socket. */
  replayed(message: EventMessage): FeedStep[] {
    if (this.#waiting === null) return [];
    if (message.type === "malformed") this.counts.malformed += 1;
    if (message.type === "malformed") return [];
    if (message.type === "end") return this.#drain(true);
    if (message.seq < this.#next) return [];
    const lost = message.seq > this.#next ? this.#lose("history") : [];
    return [...lost, ...this.#apply(message)];
  }

  /** The replay's end did not come in time, or there is no replay socket. */
  replayFailed(): FeedStep[] {
    return this.#waiting === null ? [] : this.#drain(false);
  }

  /** Live batches come in order, each once. Below what is applied, the time tells one of a new life from one that a replay has brought before. */
  #isOfAnotherLife({ seq, payload }: Batch): boolean {
    if (seq <= this.#newest) return true;
    if (seq >= this.#next) return false;
    const read = readBatch(payload);
    return read.ok && read.batch.timestamp > this.#appliedAt;
  }

  #askAgain(): FeedStep {
    this.counts.replays += 1;
    this.#askedFrom = this.#next;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return { type: "replay", from: this.#next };
  }

  #wait(batch: Batch): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    waiting.push(batch);
    this.#waitingBytes += batch.payload.length;
    // The oldest go: the replay may still bring them.
    while (waiting.length > MOST_WAITING || this.#waitingBytes > MOST_WAITING_BYTES)
      this.#waitingBytes -= waiting.shift()?.payload.length ?? 0;
  }

  /** `ended`: the engine has sent all that it has. What is missing even so is asked for once more, as long as each replay brings something. */
  #drain(ended: boolean): FeedStep[] {
    const waiting = (this.#waiting ?? []).filter(({ seq }) => seq >= this.#next);
    this.#waiting = null;
    // No live batch shows how far the engine is.
    if (!ended && waiting.length === 0) return this.#lose("history");
    const steps: FeedStep[] = [];
    for (const [index, batch] of waiting.entries()) {
      if (batch.seq > this.#next && ended && this.#next > this.#askedFrom) {
        steps.push(this.#askAgain());
        for (const later of waiting.slice(index)) this.#wait(later);
        return steps;
      }
      if (batch.seq > this.#next) steps.push(...this.#lose("history"));
      steps.push(...this.#apply(batch));
    }
    return steps;
  }

  #apply({ seq, payload }: Batch): FeedStep[] {
    this.#next = seq + 1;
    this.counts.batches += 1;
    const read = readBatch(payload);
    const malformed = read.ok ? read.batch.malformed : 1;
    this.counts.malformed += malformed;
    // What else is in it may be undone by what can't be read.
    if (!read.ok || malformed > 0) return this.#lose("malformed");
    const { batch } = read;
    this.#appliedAt = batch.timestamp;
    this.counts.unknown += batch.unknown;
    if (batch.unknown > 0) this.#gap ??= "unknown";
    // The engine holds nothing then, and what follows is all that it holds.
    else if (batch.events.some(({ type }) => type === "cleared")) this.#gap = null;
    return [{ type: "apply", batch }];
  }

  /**
   * A block may have left in what is lost, so nothing counts that was held before it: too little is announced rather than what is not
   * there. What comes afterwards is true again, though not all.
   */
  #lose(gap: Gap): FeedStep[] {
    this.#gap = gap;
    return [{ type: "forget" }];
  }
}
