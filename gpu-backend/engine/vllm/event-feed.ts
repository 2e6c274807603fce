/**
 * Puts the batches of one vLLM engine in order: live ones come over a socket that loses what nobody reads, and what was lost is asked for
 * again. Pure: it says what to do, and the sockets are its caller's.
 *
 * Example: batches 0, 1, 4 come live → {replay from 1}; 1, 2 and 3 come again, then the end → apply 2, 3, 4. A replay begins with the last
 * batch that was applied: if that one is not the same any more, the engine has started anew while nobody looked.
 */
import type { KvEventCounts } from "../residency-state.ts";
import type { EventMessage } from "./event-frames.ts";
import { type KvBatch, readBatch } from "./kv-events.ts";

export type FeedStep =
  | { type: "apply"; batch: KvBatch }
  /** Nothing that was applied before counts any more. */
  | { type: "forget" }
  /** Ask for all batches from this one on, and report what comes by `replayed`, or `replayFailed` once the time is up. An earlier one is void. */
  | { type: "replay"; from: number };

/**
 * Why what was applied may be less than what the engine holds. history: batches are lost for good; malformed: a batch or an event could
 * not be read; unknown: an event's type or medium is not known here.
 */
export type Gap = "history" | "malformed" | "unknown";

/** exact: all that the engine announced is applied. catching-up: a replay is under way. partial: some of it is missing, see `gap`. */
export type FeedState = "exact" | "catching-up" | "partial";

/** Live batches that wait for a replay; vLLM keeps 10,000 to send again. */
const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 32 * 1024 * 1024;

type Batch = Extract<EventMessage, { type: "batch" }>;

interface Replay {
  /** missing: batches between the last one and a live one. whole: all that the engine still has, from its first. check: none is known to be missing. */
  kind: "missing" | "whole" | "check";
  /** Number of the batch that was to be applied next when it was asked for. */
  nextThen: number;
  /** Some batch has come. */
  hasBegun: boolean;
}

export class EventFeed {
  readonly counts: KvEventCounts = { batches: 0, malformed: 0, unknown: 0, replays: 0, restarts: 0 };
  /** The next batch to apply. */
  #next = 0;
  /** The newest live batch, of this life of the engine; -1: none yet. */
  #newest = -1;
  /** Time of the newest batch that was applied, s by the engine's clock. */
  #appliedAt = -Infinity;
  /** The last batch that was applied, as it came; null: none of this life. */
  #last: Uint8Array | null = null;
  #gap: Gap | null = null;
  /** The engine has been asked for all, and does not have its first batches any more. */
  #isRolled = false;
  #replay: Replay | null = null;
  /** Live batches behind `next`, while a replay is to bring those before; null: none is. */
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

  /** The live socket is subscribed, for the first time or again: nothing is lost from now on, and what came before is asked for. */
  begin(): FeedStep[] {
    return [this.#ask(this.#isMendable || this.#next === 0 ? "whole" : "missing")];
  }

  /** Now and then: a batch that was lost shows by the next one only, and an idle engine sends none. What a whole replay may mend is tried again. */
  check(): FeedStep[] {
    return this.#replay === null ? [this.#ask(this.#isMendable ? "whole" : "check")] : [];
  }

  /** Known by other means, for example a connection that broke. */
  restarted(): FeedStep[] {
    this.counts.restarts += 1;
    this.#beginLife(0, null);
    this.#newest = -1;
    return [{ type: "forget" }, this.#ask("whole")];
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
    const replay = this.#ask("missing");
    this.#wait(message);
    return [replay];
  }

  /** A message of the replay socket. */
  replayed(message: EventMessage): FeedStep[] {
    const replay = this.#replay;
    if (replay === null) return [];
    // What it would have brought is missing then, and the next message shows that.
    if (message.type === "malformed") this.counts.malformed += 1;
    if (message.type === "malformed") return [];
    if (message.type === "end") return this.#replayEnded(replay);
    const isFirst = !replay.hasBegun;
    replay.hasBegun = true;
    if (replay.kind === "whole" && isFirst) {
      this.#beginLife(message.seq, message.seq === 0 ? null : "history");
      this.#isRolled = message.seq > 0;
      return [{ type: "forget" }, ...this.#apply(message)];
    }
    if (isFirst && message.seq === this.#next - 1 && this.#last !== null && !isSame(this.#last, message.payload)) return this.restarted();
    if (message.seq < this.#next) return [];
    if (message.seq === this.#next) return this.#apply(message);
    // A hole in what is sent again: asked for once more, as long as each replay brings something.
    if (this.#next > replay.nextThen) return [this.#askMore("missing")];
    this.#isRolled = true;
    return [...this.#lose("history"), ...this.#apply(message)];
  }

  /** The replay's end did not come in time, or there is no replay socket. */
  replayFailed(): FeedStep[] {
    const replay = this.#replay;
    if (replay === null) return [];
    this.#replay = null;
    if (replay.kind === "check") return [];
    // It was to mend what is missing; that has got no worse.
    if (replay.kind === "whole" && !replay.hasBegun && this.#gap !== null) return this.#drain(replay, false, false);
    return this.#drain(replay, false, true);
  }

  /** Whether a whole replay may bring what is missing. */
  get #isMendable(): boolean {
    return this.#gap !== null && !this.#isRolled;
  }

  /** Live batches come in order, each once. Below what is applied, the time tells one of a new life from one that a replay has brought before. */
  #isOfAnotherLife({ seq, payload }: Batch): boolean {
    if (seq <= this.#newest) return true;
    if (seq >= this.#next) return false;
    const read = readBatch(payload);
    return read.ok && read.batch.timestamp > this.#appliedAt;
  }

  #beginLife(next: number, gap: Gap | null): void {
    this.#next = next;
    this.#appliedAt = -Infinity;
    this.#last = null;
    this.#gap = gap;
    this.#isRolled = false;
  }

  #ask(kind: Replay["kind"]): FeedStep {
    if (kind !== "check") {
      this.counts.replays += 1;
      this.#waiting = [];
      this.#waitingBytes = 0;
    }
    this.#replay = { kind, nextThen: this.#next, hasBegun: false };
    return { type: "replay", from: kind === "whole" ? 0 : Math.max(0, this.#next - 1) };
  }

  /** As `#ask`, and what waits goes on waiting. */
  #askMore(kind: Replay["kind"], waiting = this.#waiting ?? []): FeedStep {
    const step = this.#ask(kind);
    for (const later of waiting) this.#wait(later);
    return step;
  }

  #wait(batch: Batch): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    waiting.push(batch);
    this.#waitingBytes += batch.payload.length;
    // The oldest go: the replay may still bring them.
    while (waiting.length > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES)
      this.#waitingBytes -= waiting.shift()?.payload.length ?? 0;
  }

  #replayEnded(replay: Replay): FeedStep[] {
    // The engine always has its last batch: one that does not have ours has begun anew, and sent less since.
    if (replay.kind !== "whole" && !replay.hasBegun && this.#last !== null) return this.restarted();
    this.#replay = null;
    if (replay.kind === "check") return [];
    if (replay.kind === "missing" || replay.hasBegun) return this.#drain(replay, true, false);
    this.#beginLife(0, null);
    return [{ type: "forget" }, ...this.#drain(replay, true, false)];
  }

  /**
   * What waits is applied. `hasEnded`: the engine has sent all that it has; what is missing even so is asked for once more. `loses`: no live
   * batch shows how far the engine is, so what it holds is not known.
   */
  #drain({ nextThen }: Replay, hasEnded: boolean, loses: boolean): FeedStep[] {
    const waiting = (this.#waiting ?? []).filter(({ seq }) => seq >= this.#next);
    this.#waiting = null;
    if (loses && waiting.length === 0) return this.#lose("history");
    const steps: FeedStep[] = [];
    for (const [index, batch] of waiting.entries()) {
      if (batch.seq > this.#next && hasEnded && this.#next > nextThen) {
        steps.push(this.#askMore("missing", waiting.slice(index)));
        return steps;
      }
      if (batch.seq > this.#next) {
        steps.push(...this.#lose("history"));
        this.#isRolled = hasEnded;
      }
      steps.push(...this.#apply(batch));
    }
    return steps;
  }

  #apply({ seq, payload }: Batch): FeedStep[] {
    this.#next = seq + 1;
    this.#last = payload;
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
    this.#isRolled = false;
    return [{ type: "forget" }];
  }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
