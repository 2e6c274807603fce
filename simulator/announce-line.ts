/**
 * The line from a simulated replica to its pool: what a real one says over its socket, in order, with losses as the run wants it. Where events are late, it
 * hears of its cache late, as of an engine that publishes what it holds; its heartbeats name what it has sent, and nothing overtakes.
 */
import type { ResidencyFrame } from "../src/pool/frames.ts";
import type { LeaseKey } from "../src/pool/lease.ts";
import type { Pool, PoolEffect } from "../src/router/pool.ts";
import type { RouterSetting } from "./simulated-router.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";
import { HEARTBEAT_MS } from "../src/limits.ts";

/** As gpu-backend/announce.ts keeps them. */
const JOURNAL_FRAMES = 1_024;
const FRAME_ENTRIES = 4_096;

type Entry = ResidencyFrame["entries"][number];

export class AnnounceLine {
  readonly replica: SimulatedReplica;
  readonly slot: number;
  readonly #setting: RouterSetting;
  readonly #pool: Pool;
  readonly #carryOut: (effects: readonly PoolEffect[]) => void;
  /** What the replica works on, whether its engine has it yet or not. */
  readonly #working: () => readonly LeaseKey[];
  #seq = 0;
  #entries = 0;
  #journal: { seq: number; entries: Entry[] }[] = [];
  #open = true;

  /** @param carryOut does what the pool asks of others than the replica. */
  constructor(
    replica: SimulatedReplica,
    slot: number,
    setting: RouterSetting,
    pool: Pool,
    carryOut: (effects: readonly PoolEffect[]) => void,
    working: () => readonly LeaseKey[],
  ) {
    this.replica = replica;
    this.slot = slot;
    this.#setting = setting;
    this.#pool = pool;
    this.#carryOut = carryOut;
    this.#working = working;
    this.#beat();
  }

  close(): void {
    this.#open = false;
  }

  changed(segments: readonly number[]): void {
    const { events, tree, timeline } = this.#setting;
    if (!events.announced) return;
    const { cache } = this.replica.engine;
    const entries = segments.map((segment): Entry => ({
      hash: tree.hashes[segment] ?? 0n,
      tokens: tree.ends[segment] ?? 0,
      tierBits: cache.tierBits(segment),
    }));
    const held = cache.heldSegments;
    if (events.delayMs === 0) this.#announce(entries, held);
    else timeline.after(events.delayMs, () => this.#announce(entries, held));
  }

  #announce(entries: readonly Entry[], held: number): void {
    if (!this.#open) return;
    this.#entries = held;
    const { events, draw } = this.#setting;
    for (let from = 0; from < entries.length; from += FRAME_ENTRIES) {
      const frame = { seq: ++this.#seq, entries: entries.slice(from, from + FRAME_ENTRIES) };
      this.#journal.push(frame);
      if (this.#journal.length > JOURNAL_FRAMES) this.#journal.shift();
      // Its draw is taken whether or not frames are lost, so that runs that differ in this alone draw the same.
      const lost = draw() < events.loss;
      if (!lost) this.#send({ kind: "delta", first: true, last: true, ...frame });
    }
  }

  #send(update: ResidencyFrame): void {
    this.#heard(this.#pool.residency(this.slot, update, this.#setting.timeline.nowMs));
  }

  #heard(effects: readonly PoolEffect[]): void {
    for (const effect of effects) if (effect.kind === "resync") this.#announceAfter(effect.afterSeq);
    this.#carryOut(effects);
  }

  #announceAfter(afterSeq: number | null): void {
    const oldest = this.#journal[0]?.seq ?? this.#seq + 1;
    if (afterSeq === null || afterSeq > this.#seq || afterSeq + 1 < oldest) return this.#sendFull();
    for (const frame of this.#journal) if (frame.seq > afterSeq) this.#send({ kind: "delta", first: true, last: true, ...frame });
  }

  #sendFull(): void {
    const { tree } = this.#setting;
    const { cache } = this.replica.engine;
    const held: Entry[] = [];
    for (let segment = 0; segment < tree.hashes.length; segment++) {
      const tierBits = cache.tierBits(segment);
      if (tierBits !== 0) held.push({ hash: tree.hashes[segment] ?? 0n, tokens: tree.ends[segment] ?? 0, tierBits });
    }
    for (let from = 0; from === 0 || from < held.length; from += FRAME_ENTRIES) {
      const entries = held.slice(from, from + FRAME_ENTRIES);
      this.#send({ kind: "full", first: from === 0, last: from + FRAME_ENTRIES >= held.length, seq: this.#seq, entries });
    }
  }

  #beat(): void {
    const { timeline } = this.#setting;
    timeline.after(HEARTBEAT_MS, () => {
      if (!this.#open) return;
      const said = { seq: this.#seq, entries: this.#entries, load: { usedKvTokens: 0 }, running: this.#working() };
      this.#heard(this.#pool.heartbeat(this.slot, this.replica.epoch, said, timeline.nowMs));
      this.#beat();
    });
  }
}
