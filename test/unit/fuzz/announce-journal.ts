/** What a replica says of what it holds, as gpu-backend/announce.ts says it: deltas by number, kept for a while, and all of it when asked. */
import type { ResidencyFrame } from "../../../src/pool/frames.ts";
import type { Holdings } from "./holdings.ts";

const JOURNAL_FRAMES = 1_024;
const FRAME_ENTRIES = 4_096;

type Entries = ResidencyFrame["entries"];

export class AnnounceJournal {
  seq = 0;
  /** So many of the next frames are lost. */
  loses = 0;
  readonly #held: Holdings;
  readonly #send: (update: ResidencyFrame) => void;
  readonly #pending = new Set<bigint>();
  #frames: { seq: number; entries: Entries }[] = [];

  constructor(held: Holdings, send: (update: ResidencyFrame) => void) {
    this.#held = held;
    this.#send = send;
  }

  get settled(): boolean {
    return this.#pending.size === 0;
  }

  changed(hash: bigint): void {
    this.#pending.add(hash);
  }

  restart(): void {
    this.seq = 0;
    this.#frames = [];
    this.#pending.clear();
  }

  /** Numbers and keeps what changed; sends it where `joined`. */
  flush(joined: boolean): void {
    const changed = [...this.#pending];
    this.#pending.clear();
    for (let from = 0; from < changed.length; from += FRAME_ENTRIES) {
      const entries = changed.slice(from, from + FRAME_ENTRIES).map((hash) => {
        const { tokens, tierBits } = this.#held.get(hash) ?? { tokens: 0, tierBits: 0 };
        return { hash, tokens, tierBits };
      });
      const frame = { seq: ++this.seq, entries };
      this.#frames.push(frame);
      if (this.#frames.length > JOURNAL_FRAMES) this.#frames.shift();
      if (joined) this.#post({ kind: "delta", first: true, last: true, ...frame });
    }
  }

  resync(afterSeq: number | null): void {
    this.flush(true);
    const oldest = this.#frames[0]?.seq ?? this.seq + 1;
    if (afterSeq === null || afterSeq > this.seq || afterSeq + 1 < oldest) return this.#postAll();
    for (const frame of this.#frames) if (frame.seq > afterSeq) this.#post({ kind: "delta", first: true, last: true, ...frame });
  }

  #postAll(): void {
    const all = Array.from(this.#held.entries(), ([hash, { tokens, tierBits }]) => ({ hash, tokens, tierBits }));
    for (let from = 0; from === 0 || from < all.length; from += FRAME_ENTRIES) {
      const entries = all.slice(from, from + FRAME_ENTRIES);
      this.#post({ kind: "full", first: from === 0, last: from + FRAME_ENTRIES >= all.length, seq: this.seq, entries });
    }
  }

  #post(update: ResidencyFrame): void {
    if (this.loses > 0) this.loses--;
    else this.#send(update);
  }
}
