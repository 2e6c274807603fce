/** The order of vLLM's batches: gaps, replays, restarts, and what may not be called exact. */
import { beforeEach, expect, test } from "vitest";
import { EventFeed, type FeedStep } from "../../gpu-backend/engine/vllm/event-feed.ts";
import { readMessage } from "../../gpu-backend/engine/vllm/event-frames.ts";
import { HeldBlocks } from "../../gpu-backend/engine/vllm/held-blocks.ts";
import { seeded } from "../e2e/mutations.ts";
import { END, message, type Packable, recorded } from "./vllm-recorded.ts";

const CLEARED: Packable = { type: "AllBlocksCleared" };
const stored = (hash: number): Packable => ({ type: "BlockStored", block_hashes: [hash] });
const removed = (hash: number): Packable => ({ type: "BlockRemoved", block_hashes: [hash] });

/** An index that does as it is told. */
class Follower {
  readonly feed = new EventFeed();
  readonly held = new HeldBlocks();
  /** Where each replay was asked from. */
  readonly asked: number[] = [];

  do(steps: readonly FeedStep[]): void {
    for (const step of steps) {
      if (step.type === "replay") this.asked.push(step.from);
      if (step.type === "forget") this.held.clear();
      if (step.type === "apply") for (const event of step.batch.events) this.held.apply(event);
    }
  }

  /** From its first batch on, all of which are sent again. */
  begin(...batches: Uint8Array[][]): void {
    this.do(this.feed.begin());
    this.replay(...batches);
  }

  live(...batches: Uint8Array[][]): void {
    for (const batch of batches) this.do(this.feed.live(readMessage(batch)));
  }

  replay(...batches: Uint8Array[][]): void {
    for (const batch of [...batches, END]) this.do(this.feed.replayed(readMessage(batch)));
  }

  /** Which of blocks 0 to 99 are held. */
  get blocks(): number[] {
    return Array.from({ length: 100 }, (_, hash) => hash).filter(
      (hash) => this.held.bitsOf(hash.toString(16).padStart(16, "0") as never) !== 0,
    );
  }
}

let follower: Follower;
beforeEach(() => {
  follower = new Follower();
});
const batch = (seq: number): Uint8Array[] => message(seq, [stored(seq)]);

test("batches that come in order are applied as they come, and that is exact", () => {
  follower.do(follower.feed.begin());
  expect(follower.feed.state).toBe("catching-up");
  follower.replay();
  follower.live(batch(0), batch(1));
  expect([follower.feed.state, follower.blocks, follower.asked]).toEqual(["exact", [0, 1], [0]]);
});

test("what was announced before is sent again, and what comes live meanwhile waits for it", () => {
  follower.do(follower.feed.begin());
  follower.live(batch(2));
  expect(follower.blocks).toEqual([]);
  follower.replay(batch(0), batch(1), batch(2));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [0, 1, 2]]);
});

test("a live batch that a replay has brought before is not applied twice, nor taken for a restart", () => {
  follower.begin(batch(0), message(1, [removed(0)]));
  follower.live(batch(0), message(1, [removed(0)]), batch(2));
  expect([follower.blocks, follower.feed.counts.restarts, follower.asked]).toEqual([[2], 0, [0]]);
});

test("a gap is asked for and closed, in order", () => {
  follower.begin(batch(0));
  follower.live(message(3, [removed(2)]), batch(4));
  expect([follower.feed.state, follower.asked, follower.blocks]).toEqual(["catching-up", [0, 0], [0]]);
  follower.replay(batch(0), batch(1), batch(2), message(3, [removed(2)]));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [0, 1, 4]]);
});

test("a gap among the batches that wait is asked for once more", () => {
  follower.begin();
  follower.live(batch(1), batch(4));
  follower.replay(batch(0), batch(1));
  expect([follower.feed.state, follower.asked]).toEqual(["catching-up", [0, 0, 1]]);
  follower.replay(batch(1), batch(2), batch(3), batch(4));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [0, 1, 2, 3, 4]]);
});

test("what the engine can't send again is history: all before it is forgotten, and nothing is called exact until the cache is cleared", () => {
  follower.begin(batch(0), batch(1));
  follower.live(batch(7));
  follower.replay(batch(5), batch(6), batch(7));
  expect([follower.feed.state, follower.feed.gap, follower.blocks]).toEqual(["partial", "history", [5, 6, 7]]);
  follower.live(message(8, [CLEARED, stored(8)]));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [8]]);
});

test("a replay that never ends costs the history, and one that fails before anything was missed does not", () => {
  follower.begin(batch(0));
  follower.live(batch(3));
  follower.do(follower.feed.replayFailed());
  expect([follower.feed.state, follower.blocks]).toEqual(["partial", [3]]);
  const fresh = new Follower();
  fresh.do(fresh.feed.begin());
  fresh.live(batch(0), batch(1));
  fresh.do(fresh.feed.replayFailed());
  expect([fresh.feed.state, fresh.blocks]).toEqual(["exact", [0, 1]]);
});

test("without a replay socket an engine that is joined late is never called exact", () => {
  follower.do(follower.feed.begin());
  follower.do(follower.feed.replayFailed());
  expect([follower.feed.state, follower.feed.gap]).toEqual(["partial", "history"]);
});

test("a replay that brings nothing of what is missing is not asked for again", () => {
  follower.begin(batch(0));
  follower.live(batch(5));
  follower.replay(batch(0));
  expect([follower.feed.state, follower.asked, follower.blocks]).toEqual(["partial", [0, 0], [5]]);
});

test("an engine that begins anew while nobody looks is found out by a replay, which begins with the last batch that was applied", () => {
  follower.begin(batch(0), batch(1));
  follower.live(batch(4));
  follower.do(follower.feed.replayed(readMessage(message(1, [stored(51)], 9_001))));
  expect([follower.feed.counts.restarts, follower.asked, follower.blocks]).toEqual([1, [0, 1, 0], []]);
  follower.replay(message(0, [stored(50)], 9_000), message(1, [stored(51)], 9_001));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [50, 51]]);
});

test("an engine that no longer has the last batch, and none behind it, has begun anew", () => {
  follower.begin(batch(0), batch(1));
  follower.do(follower.feed.check());
  expect(follower.feed.state).toBe("exact");
  follower.replay();
  expect([follower.feed.state, follower.blocks, follower.feed.counts.restarts]).toEqual(["catching-up", [], 1]);
  follower.replay();
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", []]);
});

test("a check of an engine that has said nothing new changes nothing, and what it brings is applied", () => {
  follower.begin(batch(0));
  follower.do(follower.feed.check());
  follower.replay(batch(0));
  follower.do(follower.feed.check());
  follower.live(batch(1));
  follower.replay(batch(0), batch(1), batch(2));
  expect([follower.feed.state, follower.blocks, follower.feed.counts.replays]).toEqual(["exact", [0, 1, 2], 1]);
});

test("what a live message spoilt is made good by a replay of all that the engine has", () => {
  const [topic = new Uint8Array(), seq = new Uint8Array()] = batch(1);
  follower.begin(batch(0));
  follower.live([topic, seq, Buffer.from("c1", "hex")]);
  follower.do(follower.feed.check());
  expect(follower.asked).toEqual([0, 0]);
  follower.replay(batch(0), batch(1));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [0, 1]]);
});

test("a number that goes back is a new life: nothing of the old one is held", () => {
  follower.begin(batch(0), batch(1));
  follower.live(batch(2));
  follower.live(message(1, [stored(51)], 9_001));
  expect([follower.feed.state, follower.blocks, follower.asked]).toEqual(["catching-up", [], [0, 0]]);
  follower.replay(message(0, [stored(50)], 9_000), message(1, [stored(51)], 9_001));
  expect([follower.feed.state, follower.blocks, follower.feed.counts.restarts]).toEqual(["exact", [50, 51], 1]);
});

test("a new life is seen too where the old one was known by a replay only, and while one is under way", () => {
  follower.begin(batch(0), batch(1), batch(2));
  follower.live(message(0, [stored(50)], 9_000));
  follower.replay(message(0, [stored(50)], 9_000));
  expect([follower.feed.counts.restarts, follower.blocks]).toEqual([1, [50]]);
  follower.live(message(2, [stored(52)], 9_002), message(0, [stored(60)], 9_100));
  follower.replay(message(0, [stored(60)], 9_100));
  expect([follower.feed.counts.restarts, follower.feed.state, follower.blocks]).toEqual([2, "exact", [60]]);
});

test("a new life that is known by other means begins from nothing", () => {
  follower.begin(batch(0), batch(1));
  follower.do(follower.feed.restarted());
  follower.replay(message(0, [stored(50)], 9_000));
  expect([follower.feed.state, follower.blocks]).toEqual(["exact", [50]]);
});

test("a batch that can't be read, whole or in part, is counted, and what was held before it is forgotten", () => {
  const [topic = new Uint8Array(), seq = new Uint8Array()] = batch(1);
  follower.begin(batch(0));
  follower.live([topic, seq, Buffer.from("c1", "hex")], batch(2));
  expect([follower.feed.state, follower.feed.gap, follower.blocks]).toEqual(["partial", "malformed", [2]]);
  follower.live(message(3, [stored(3), { type: "BlockRemoved", block_hashes: "x" }]), batch(4));
  expect([follower.feed.counts.malformed, follower.blocks]).toEqual([2, [4]]);
});

test("a message that can't be read is a gap, and the replay closes it", () => {
  const [topic = new Uint8Array(), , payload = new Uint8Array()] = batch(1);
  follower.begin(batch(0));
  follower.live([topic, Buffer.from("short"), payload], batch(2));
  follower.replay(batch(0), batch(1), batch(2));
  expect([follower.feed.counts.malformed, follower.feed.state, follower.blocks]).toEqual([1, "exact", [0, 1, 2]]);
});

test("an event of a type that is not known here leaves the rest in place and is no longer exact", () => {
  follower.begin(batch(0));
  follower.live(message(1, [stored(1), { type: "BlockMoved" }]));
  expect([follower.feed.state, follower.feed.gap, follower.blocks]).toEqual(["partial", "unknown", [0, 1]]);
});

test("of many batches that wait the oldest are dropped, and asked for again", () => {
  const last = 10_003;
  const cheap = (seq: number): Uint8Array[] => message(seq, seq < 100 ? [stored(seq)] : []);
  follower.begin();
  for (let seq = 1; seq <= last; seq++) follower.live(cheap(seq));
  follower.replay(cheap(0), cheap(1));
  expect(follower.asked).toEqual([0, 0, 1]);
  follower.replay(...Array.from({ length: last }, (_, index) => cheap(index + 1)));
  expect([follower.feed.state, follower.blocks.length]).toEqual(["exact", 100]);
});

test("however the recorded batches are lost, a replay makes the index what it is without loss", () => {
  const live = recorded("one-rank").flatMap(({ kind, frames }) => (kind === "live" ? [frames ?? []] : []));
  const whole = new Follower();
  whole.begin(...live);
  expect(whole.held.size).toBeGreaterThan(5);
  const random = seeded(7);
  for (let round = 0; round < 50; round++) {
    const lossy = new Follower();
    lossy.begin();
    for (const [at, one] of live.entries()) {
      // The last always comes, and with it the knowledge of what is missing.
      if (at < live.length - 1 && random(3) === 0) continue;
      lossy.live(one);
      if (lossy.feed.state === "catching-up") lossy.replay(...live.slice(lossy.asked.at(-1), at + 1));
    }
    expect(lossy.feed.state).toBe("exact");
    expect(keysOf(lossy.held, live)).toEqual(keysOf(whole.held, live));
  }
});

/** Of all blocks that the batches name, the tiers of each. */
function keysOf(held: HeldBlocks, batches: readonly Uint8Array[][]): [string, number][] {
  const all = new Follower();
  const seen = new Map<string, number>();
  all.do(all.feed.begin());
  for (const one of [...batches, END]) {
    for (const step of all.feed.replayed(readMessage(one))) {
      if (step.type !== "apply") continue;
      for (const event of step.batch.events) if ("keys" in event) for (const key of event.keys) seen.set(key, held.bitsOf(key));
    }
  }
  return [...seen];
}
