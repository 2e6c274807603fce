/** When an entry was last used, in 22 bits, so that at any age what was used later counts as younger. */
import { MOST_TOUCHED, packMeta, type Part, replicaOf, tiersOf, touchedOf } from "./part.ts";

/** What a checkpoint keeps of it. */
export interface AgeState {
  /** Tick of an entry that is used now. */
  now: number;
  /** Last time that was told, seconds. */
  seconds: number;
  /** Goes up when ticks are numbered anew: those of another era cannot be compared. */
  era: number;
}

/** Ticks of a second that never go back. When 22 bits are used up, after 24 to 48 days, the ticks in use are numbered anew in the same order. */
export class Ages {
  #state: AgeState = { now: 0, seconds: 0, era: 0 };

  get now(): number {
    return this.#state.now;
  }

  get state(): AgeState {
    return this.#state;
  }

  restore(state: AgeState): void {
    this.#state = { ...state };
  }

  /** `seconds` of any clock: where it is set back, time goes on from where it was. */
  tick(seconds: number, parts: readonly Part[]): void {
    const passed = Math.floor(seconds) - this.#state.seconds;
    const now = this.#state.now + Math.max(0, passed);
    if (now <= MOST_TOUCHED) this.#state = { ...this.#state, now, seconds: Math.floor(seconds) };
    else this.#state = { now: renumber(parts), seconds: Math.floor(seconds), era: this.#state.era + 1 };
  }
}

/** Each tick in use becomes its rank among them. At most half of the range is used: where there are more ticks, neighbours become one. */
function renumber(parts: readonly Part[]): number {
  const used = new Uint32Array((MOST_TOUCHED + 1) / 32);
  for (const part of parts) part.forEach((_tokens, meta) => mark(used, touchedOf(meta)));
  /** By 32 ticks: how many in use lie before them. */
  const before = new Uint32Array(used.length);
  let ticks = 0;
  for (const [at, bits] of used.entries()) {
    before[at] = ticks;
    ticks += onesIn(bits);
  }
  const step = ticks > MOST_TOUCHED / 2 ? 2 : 1;
  const rankOf = (tick: number): number => (before[tick >>> 5] ?? 0) + onesIn((used[tick >>> 5] ?? 0) & ((1 << (tick & 31)) - 1));
  for (const part of parts) part.retouch((meta) => packMeta(replicaOf(meta), tiersOf(meta), Math.floor(rankOf(touchedOf(meta)) / step)));
  return Math.ceil(ticks / step);
}

function mark(used: Uint32Array, tick: number): void {
  used[tick >>> 5] = (used[tick >>> 5] ?? 0) | (1 << (tick & 31));
}

/** Counted in pairs, fours and bytes at once (Warren, Hacker's Delight, 5-1). */
function onesIn(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
