/** A vLLM's events over real zeromq sockets: whatever is lost, cut, spoilt or begun anew, the index becomes the engine's truth again, and says until then that it is not. */
import { setTimeout as pause } from "node:timers/promises";
import * as zmq from "zeromq";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import type { ResidencyState } from "../../gpu-backend/engine/residency-state.ts";
import { CHECK_MS, EventReader, REPLAY_SILENCE_MS } from "../../gpu-backend/engine/vllm/event-reader.ts";
import { readBatch } from "../../gpu-backend/engine/vllm/kv-events.ts";
import { VllmResidency } from "../../gpu-backend/engine/vllm/residency.ts";
import { ManualTimers } from "./manual-timers.ts";
import { type PublisherOptions, VllmPublisher } from "./vllm-publisher.ts";
import { type Packable, recorded } from "./vllm-recorded.ts";

const BLOCK = 32;
/** Payloads as a vLLM sent them: multi-turn, salts, an adapter, evictions, a reset. */
const LIVE = recorded("one-rank").flatMap(({ kind, frames }) => (kind === "live" ? [Buffer.from(frames?.[2] ?? [])] : []));

class Index {
  readonly residency: VllmResidency;
  readonly held = new Set<EngineKey>();

  constructor(blockTokens = BLOCK) {
    this.residency = new VllmResidency(blockTokens, null);
    this.residency.onResidency((changes) => {
      for (const { key, held } of changes) {
        if (held) this.held.add(key);
        else this.held.delete(key);
      }
    });
  }

  /** What an engine holds after these batches. */
  static after(payloads: readonly Uint8Array[]): Set<EngineKey> {
    const index = new Index();
    for (const payload of payloads) {
      const read = readBatch(payload);
      if (read.ok) index.residency.apply([{ type: "apply", batch: read.batch }]);
    }
    return index.held;
  }
}

let publisher: VllmPublisher;
let index: Index;
let timers: ManualTimers;
let reader: EventReader | null = null;

beforeEach(async () => {
  await begin({});
});
afterEach(() => {
  reader?.close();
  reader = null;
  publisher.cut();
});

async function begin(options: PublisherOptions): Promise<void> {
  publisher = new VllmPublisher(options);
  await publisher.open();
  index = new Index();
  timers = new ManualTimers();
}

async function follow(source = publisher.source): Promise<void> {
  const { residency } = index;
  reader = await EventReader.open({ zmq, source, timers, onSteps: (steps) => residency.apply(steps) });
}

const state = (): ResidencyState => index.residency.state(reader?.seen ?? { state: "exact", gap: null, isConnected: false });
const isExact = (): boolean => state().state === "exact";
const why = (): string => {
  const now = state();
  return now.state === "exact" ? "" : now.why;
};

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(2);
}
/** All that was sent until now is applied. */
const caughtUp = (batches: number): Promise<void> => until(() => isExact() && reader?.counts.batches === batches);

test("what was announced before it came is sent again, and what is announced then is followed", async () => {
  const [first, then] = [LIVE.slice(0, 9), LIVE.slice(9)];
  for (const payload of first) await publisher.send(payload);
  await follow();
  expect(why()).toContain("do not come");
  await caughtUp(first.length);
  expect(index.held).toEqual(Index.after(first));
  for (const payload of then) await publisher.send(payload);
  await caughtUp(LIVE.length);
  expect(index.held).toEqual(Index.after(LIVE));
  expect(index.held.size).toBeGreaterThan(5);
});

test.each([[false], [true]])(
  "batches that are lost are asked for and applied in their order; replies without a topic: %s",
  async (repliesWithoutTopic) => {
    publisher.cut();
    await begin({ repliesWithoutTopic });
    await follow();
    await caughtUp(0);
    for (const [at, payload] of LIVE.entries()) await publisher.send(payload, at % 4 === 1 && at < LIVE.length - 1 ? "lost" : "sent");
    await caughtUp(LIVE.length);
    expect(index.held).toEqual(Index.after(LIVE));
    expect(reader?.counts).toMatchObject({ restarts: 0, malformed: 0 });
  },
);

test("a batch that is lost before an engine falls idle is found out by the next check", async () => {
  for (const payload of LIVE.slice(0, 5)) await publisher.send(payload);
  await follow();
  await caughtUp(5);
  await publisher.send(LIVE[5] ?? Buffer.alloc(0), "lost");
  timers.move(CHECK_MS);
  await until(() => reader?.counts.batches === 6);
  expect(index.held).toEqual(Index.after(LIVE.slice(0, 6)));
  expect(isExact()).toBe(true);
});

test("batches that come twice or out of their order leave the index as it should be", async () => {
  await follow();
  await caughtUp(0);
  for (const payload of LIVE.slice(0, 4)) await publisher.send(payload);
  await publisher.send(LIVE[4] ?? Buffer.alloc(0), "lost");
  await publisher.send(LIVE[5] ?? Buffer.alloc(0));
  await publisher.again(4);
  await publisher.again(2);
  for (const payload of LIVE.slice(6)) await publisher.send(payload);
  await until(() => isExact() && sameAs(Index.after(LIVE)));
});

test("what makes no sense is counted, and what it stood for is asked for again", async () => {
  await follow();
  await caughtUp(0);
  await publisher.send(LIVE[0] ?? Buffer.alloc(0));
  for (const frames of [["kv@x"], ["kv@x", "short", "y"], ["kv@x", "\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0001", "\u00c1"]]) {
    await publisher.raw(frames.map((frame) => Buffer.from(frame, "latin1")));
  }
  // The last of these stood in for a batch of its own.
  await until(() => reader?.counts.malformed === 3);
  expect(why()).toContain("could not be read");
  for (const payload of LIVE.slice(1)) await publisher.send(payload);
  await until(() => isExact() && sameAs(Index.after(LIVE)));
});

test("an engine that begins anew has nothing of its old life, also where its new numbers are above the old ones by then", async () => {
  await follow();
  await caughtUp(0);
  for (const payload of LIVE.slice(0, 3)) await publisher.send(payload);
  await caughtUp(3);
  publisher.begin();
  for (const payload of LIVE.slice(0, 3).toReversed()) await publisher.send(payload, "lost");
  for (const payload of LIVE.slice(10, 14)) await publisher.send(payload, "lost");
  await publisher.send(LIVE[14] ?? Buffer.alloc(0));
  const truth = Index.after([...LIVE.slice(0, 3).toReversed(), ...LIVE.slice(10, 15)]);
  await until(() => isExact() && sameAs(truth));
  expect(reader?.counts.restarts).toBe(1);
});

test("an engine that begins anew and falls idle is found out by the next check", async () => {
  await follow();
  await caughtUp(0);
  for (const payload of LIVE.slice(0, 6)) await publisher.send(payload);
  await caughtUp(6);
  expect(index.held.size).toBeGreaterThan(0);
  publisher.begin();
  timers.move(CHECK_MS);
  await until(() => isExact() && index.held.size === 0);
});

test("sockets that are cut for a while are degraded meanwhile and exact afterwards", async () => {
  await follow();
  await caughtUp(0);
  for (const payload of LIVE.slice(0, 5)) await publisher.send(payload);
  await caughtUp(5);
  publisher.cut();
  await until(() => !isExact());
  expect(state()).toEqual({ state: "degraded", why: "its KV events do not come" });
  for (const payload of LIVE.slice(5, 9)) await publisher.send(payload, "lost");
  timers.move(CHECK_MS);
  await publisher.open();
  await caughtUp(9);
  expect(index.held).toEqual(Index.after(LIVE.slice(0, 9)));
});

test("a replay that nobody answers is given up in time, and made good once somebody does", async () => {
  for (const payload of LIVE.slice(0, 5)) await publisher.send(payload);
  publisher.isMute = true;
  await follow();
  await until(() => publisher.asked.length === 1);
  timers.move(REPLAY_SILENCE_MS);
  await until(() => why().includes("are lost"));
  expect(index.held.size).toBe(0);
  publisher.isMute = false;
  timers.move(CHECK_MS * 2);
  await caughtUp(5);
  expect(index.held).toEqual(Index.after(LIVE.slice(0, 5)));
});

test("an engine whose buffer has rolled is never called exact, until it clears its cache", async () => {
  publisher.cut();
  await begin({ buffer: 2 });
  for (const payload of LIVE.slice(0, 6)) await publisher.send(payload);
  await follow();
  await until(() => reader?.counts.batches === 2 && why().includes("are lost"));
  for (const key of index.held) expect(Index.after(LIVE.slice(0, 6))).toContain(key);
  await publisher.events([{ type: "AllBlocksCleared" }]);
  await until(isExact);
  expect(index.held.size).toBe(0);
});

test("an engine that connects to its subscriber is followed where that one binds", async () => {
  const live = new zmq.Publisher({ linger: 0 });
  const free = new zmq.Publisher({ linger: 0 });
  await free.bind("tcp://127.0.0.1:*");
  const endpoint = free.lastEndpoint ?? "";
  free.close();
  try {
    await follow({ rank: 0, live: endpoint, isBound: true, replay: publisher.source.replay, topic: "" });
    live.connect(endpoint);
    await caughtUp(0);
  } finally {
    live.close();
  }
});

test("blocks of a size that was not expected are never called exact", async () => {
  await follow();
  await caughtUp(0);
  const stored: Packable = {
    type: "BlockStored",
    block_hashes: [1],
    parent_block_hash: null,
    token_ids: [1, 2],
    block_size: 2,
    medium: "GPU",
    extra_keys: [null],
  };
  await publisher.events([stored]);
  await until(() => why().includes("another size"));
});

function sameAs(truth: ReadonlySet<EngineKey>): boolean {
  return index.held.size === truth.size && [...truth].every((key) => index.held.has(key));
}
