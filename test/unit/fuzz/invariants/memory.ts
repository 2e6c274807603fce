/** The index is what replicas hold, as far as it has room, and gives up what was used longest ago. */
import { PART_FULL } from "../../../../src/residency/part.ts";
import type { Replica } from "../replica.ts";
import type { Invariant } from "../watch.ts";
import type { World } from "../world.ts";

/** Of the index's places, one part's: as core-pool.ts makes it. */
const FITTING = 0.9 * PART_FULL;
const COMPARED_MS = 30_000 + 2_000;
const ONE_RESYNC_MS = 29_000;
/** Given up at once, residency/typed-array-index.ts; twice. */
const EVICTED_AT_ONCE = 2 * 4_096;
const HOUR_MS = 3_600_000;

function known(world: World, replica: Replica): boolean {
  return replica.connection !== null && world.pool.state.replica(replica.slot)?.name === replica.name;
}

/** Residency is said, and believed. */
function tells({ setup }: Replica): boolean {
  return setup.silent !== true && setup.hostile !== true;
}

const counts: Invariant = {
  name: "index has all",
  says: "while all that ready replicas hold fills 90 % of the index at most, its count of each is that of the heartbeat within 30 s",
  watch: (world, fail) => {
    const fineAt = new Map<Replica, number>();
    const entries = new Map<Replica, number>();
    return {
      joined: (replica) => void fineAt.set(replica, world.nowMs),
      poolForgot: () => fineAt.clear(),
      beaten: (replica, beat) => {
        entries.set(replica, beat.entries);
        let sum = 0;
        for (const other of world.replicas) if (known(world, other)) sum += entries.get(other) ?? 0;
        const count = world.pool.state.index.count(replica.slot);
        const isFine = world.pool.seqOf(replica.slot) === beat.seq && count === beat.entries;
        if (isFine || sum > FITTING || !tells(replica) || !known(world, replica)) return void fineAt.set(replica, world.nowMs);
        const forMs = world.nowMs - (fineAt.get(replica) ?? world.nowMs);
        if (forMs > COMPARED_MS) fail(`${count} of ${replica.name}'s ${beat.entries} entries are known, for ${forMs} ms`);
      },
    };
  },
};

const resyncs: Invariant = {
  name: "one full resync",
  says: "besides hellos a replica sends all it holds at most once in 30 s",
  watch: (world, fail) => {
    const at = new Map<Replica, number>();
    const greeted = new Set<Replica>();
    return {
      joined: (replica) => void greeted.add(replica),
      framed: (replica, { kind, last }, need) => {
        if (kind !== "full" || !last || need !== null || !tells(replica)) return;
        if (greeted.delete(replica)) return;
        const sinceMs = world.nowMs - (at.get(replica) ?? -Infinity);
        at.set(replica, world.nowMs);
        if (sinceMs < ONE_RESYNC_MS) fail(`${replica.name} sent all again after ${sinceMs} ms`);
      },
    };
  },
};

const few: Invariant = {
  name: "evicts few",
  says: "a frame makes the index give up little more than the frame brings",
  watch: (world, fail) => {
    let before = 0;
    return {
      framing: () => (before = world.pool.state.index.evicted),
      framed: (_replica, { entries }) => {
        const evicted = world.pool.state.index.evicted - before;
        if (evicted > entries.length + EVICTED_AT_ONCE) fail(`${evicted} entries went for ${entries.length}`);
      },
    };
  },
};

/** One of so many entries is watched. */
const WATCHED = 41;

const ages: Invariant = {
  name: "used later stays longer",
  says: "what was used later stays longer, however long ago both were",
  watch: (world, fail) => {
    /** By hash: whose, and when it was used last, true time. */
    const used = new Map<bigint, { replica: Replica; atMs: number }>();
    let before = 0;
    const drop = (gone: Replica): void => {
      for (const [hash, { replica }] of used) if (replica === gone) used.delete(hash);
    };
    const isHeld = (hash: bigint, { slot }: Replica): boolean => world.pool.state.index.tiersOf(hash, slot) !== 0;
    const compare = (): void => {
      let oldestKept = Infinity;
      let youngestGone = -Infinity;
      for (const [hash, { replica, atMs }] of used) {
        if (isHeld(hash, replica)) oldestKept = Math.min(oldestKept, atMs);
        else {
          used.delete(hash);
          // What all implementations may count as simply old.
          if (world.nowMs - atMs < 12 * HOUR_MS) youngestGone = Math.max(youngestGone, atMs);
        }
      }
      if (youngestGone - oldestKept > HOUR_MS)
        fail(`what was used ${hours(world.nowMs - youngestGone)} ago went, what was used ${hours(world.nowMs - oldestKept)} ago stays`);
    };
    return {
      poolForgot: () => used.clear(),
      forgotten: drop,
      asking: ({ ask, prompt }) => {
        if (ask.conversation !== -1) return;
        for (const hash of prompt.chain) {
          const entry = used.get(hash);
          if (entry !== undefined && isHeld(hash, entry.replica)) entry.atMs = world.nowMs;
          // Nobody who lacks a segment is followed further.
          else if (!world.replicas.some((replica) => known(world, replica) && isHeld(hash, replica))) return;
        }
      },
      framing: () => (before = world.pool.state.index.evicted),
      framed: (replica, { entries }) => {
        if (world.pool.state.index.evicted > before) compare();
        for (const [at, { hash, tierBits }] of entries.entries()) {
          if (tierBits === 0) used.delete(hash);
          else if (at % WATCHED === 0 && entries.length >= 1_000) used.set(hash, { replica, atMs: world.nowMs });
        }
      },
    };
  },
};

const hours = (ms: number): string => `${(ms / HOUR_MS).toFixed(1)} h`;

const equal: Invariant = {
  name: "index equals replicas",
  says: "in the end the index has of each replica what it holds, on those tiers, at those positions",
  watch: (world, fail) => ({
    ended: () => {
      let sum = 0;
      for (const { held } of world.replicas) sum += held.size;
      if (sum > FITTING) return;
      for (const replica of world.replicas) {
        if (!tells(replica) || !known(world, replica)) continue;
        const found = Array.from(world.pool.state.index.entries(replica.slot));
        if (found.length !== replica.held.size) return fail(`${found.length} of ${replica.held.size} entries of ${replica.name}`);
        for (const { hash, tierBits, tokens } of found) {
          const real = replica.held.get(hash);
          if (real?.tierBits !== tierBits || real.tokens !== tokens)
            return fail(`${hash} of ${replica.name}: tiers ${tierBits}, token ${tokens}`);
        }
      }
    },
  }),
};

export const MEMORY: readonly Invariant[] = [counts, resyncs, few, ages, equal];
