/** Belief that something is slow is tried again; what is believed of a path is what its replica says. */
import { type LeaseKey, prefillLease } from "../../../../src/pool/lease.ts";
import { halvesOf } from "../../../../src/pool/predicted-paths.ts";
import type { CandidateView, ScoredCandidate } from "../../../../src/decision/decision.ts";
import { unpackView } from "../../../../src/explain/packed-view.ts";
import type { Request } from "../edge.ts";
import type { Replica } from "../replica.ts";
import type { Invariant } from "../watch.ts";
import type { World } from "../world.ts";

const TRIED_AGAIN = { decisions: 100, ms: 600_000 };
/** So many tokens make a transfer, or a load, right beyond doubt where it really takes a fifth of computing at most. */
const MANY_TOKENS = 2_000;
const CLEARLY = 5;

type Chance = "taken" | "missed" | "none";

function triedAgain(name: string, says: string, chanceOf: (world: World, request: Request, replica: Replica) => Chance): Invariant {
  return {
    name,
    says,
    watch: (world, fail) => {
      const missed = { count: 0, sinceMs: 0 };
      return {
        poolForgot: () => (missed.count = 0),
        placed: (request, replica) => {
          const chance = chanceOf(world, request, replica);
          if (chance === "taken") missed.count = 0;
          if (chance !== "missed") return;
          if (missed.count++ === 0) missed.sinceMs = world.nowMs;
          const forMs = world.nowMs - missed.sinceMs;
          if (missed.count > TRIED_AGAIN.decisions || (missed.count > 2 && forMs > TRIED_AGAIN.ms))
            fail(`${missed.count} chances in ${Math.round(forMs / 1_000)} s, none taken`);
        },
      };
    },
  };
}

function scoredOf(world: World, request: Request): ScoredCandidate | null {
  const decision = world.decisionOf(request)?.decision;
  return decision?.candidates[decision.chosen ?? -1] ?? null;
}

const transfers = triedAgain(
  "slow transfers",
  "a transfer that is right is planned again within 100 decisions or 10 minutes of a slow one",
  (world, request, replica) => {
    const { transferMsPerToken, prefillMsPerToken } = world.setup;
    if (request.ask.counts === true || transferMsPerToken * CLEARLY > prefillMsPerToken * replica.setup.pace) return "none";
    const scored = scoredOf(world, request);
    const replayed = world.decisionOf(request);
    if (scored === null || replayed === null) return "none";
    if (replayed.decision.transfer !== null) return "taken";
    if (scored.uncachedTokens < MANY_TOKENS) return "none";
    const views = unpackView(replayed.record.view).candidates;
    const own = views[replayed.decision.chosen ?? -1];
    const couldSend = ({ memoryTokens, transfers: sends, eligible }: CandidateView): boolean =>
      sends && eligible && memoryTokens - scored.cachedTokens >= MANY_TOKENS;
    return own?.transfers === true && views.some((view) => view !== own && couldSend(view)) ? "missed" : "none";
  },
);

const loads = triedAgain(
  "slow loads",
  "a load that is right is planned again within 100 decisions or 10 minutes of a slow one",
  (world, request, replica) => {
    const { loadMsPerToken, prefillMsPerToken } = world.setup;
    if (request.ask.counts === true || loadMsPerToken * CLEARLY > prefillMsPerToken * replica.setup.pace) return "none";
    const scored = scoredOf(world, request);
    if (scored === null || scored.cachedTokens - scored.deviceTokens < MANY_TOKENS) return "none";
    return scored.loadedTokens > 0 ? "taken" : "missed";
  },
);

interface Leased {
  chain: BigUint64Array;
  id: string;
  attempt: number;
  /** Hashes whose announcement says that its end has come: its last, and the one before where that was news after the lease. */
  ends: readonly bigint[];
  /** After its first token its replica has announced its end. */
  named: boolean;
}

/** The most that a path without an announcement is believed for. */
const REPAIRED_MS = 60_000;

function shared(left: BigUint64Array, right: BigUint64Array): number {
  let at = 0;
  while (at < left.length && at < right.length && left[at] === right[at]) at++;
  return at;
}

const paths: Invariant = {
  name: "announced paths",
  says: "after a first token only the announcements speak for a path that was announced",
  watch: (world, fail) => {
    const leased = new Map<Replica, Leased[]>();
    const held = (replica: Replica, hash: bigint): boolean => world.pool.state.index.tiersOf(hash, replica.slot) !== 0;
    const mayBe = (replica: Replica, chain: BigUint64Array): number => {
      let most = 0;
      const { leases } = world.pool.state;
      for (const path of leased.get(replica) ?? []) {
        const lease = leases.get(path);
        const isOpen = lease !== undefined && (lease.firstTokenAtMs === null ? lease.endedAtMs === null : !path.named);
        if (isOpen && world.pool.nowMs() - (lease.firstTokenAtMs ?? Infinity) < REPAIRED_MS)
          most = Math.max(most, shared(path.chain, chain));
      }
      return most;
    };
    const follow = (replica: Replica, chain: BigUint64Array, key: LeaseKey): void => {
      if (replica.setup.silent === true || replica.setup.hostile === true || chain.length === 0) return;
      const all = leased.get(replica) ?? [];
      const [last, before] = [chain.at(-1), chain.at(-2)];
      const ends = [last, before === undefined || held(replica, before) ? undefined : before].filter((hash) => hash !== undefined);
      all.push({ chain, ends, id: key.id, attempt: key.attempt, named: false });
      if (all.length > 512) all.shift();
      leased.set(replica, all);
    };
    const asking = ({ prompt: { chain } }: Request): void => {
      for (const [replica] of leased) {
        if (replica.connection === null || world.pool.state.replica(replica.slot)?.name !== replica.name) continue;
        // A frame of it was lost, and is asked for: what it said has not been heard.
        if (world.pool.seqOf(replica.slot) !== replica.journal.seq) continue;
        const believed = world.pool.state.paths.longest(replica.slot, halvesOf(chain), 0, world.pool.nowMs())?.segments ?? 0;
        let announced = 0;
        while (announced < believed && held(replica, chain[announced] ?? 0n)) announced++;
        if (believed <= announced) continue;
        const most = mayBe(replica, chain);
        if (believed > most)
          fail(`${believed} segments are believed on ${replica.name}; it says ${announced}, and requests under way will leave ${most}`);
      }
    };
    return {
      asking,
      poolForgot: () => leased.clear(),
      forgotten: (replica) => void leased.delete(replica),
      placed: ({ id, prompt }, replica, { attempt, prefill }) => {
        follow(replica, prompt.chain, { id, attempt });
        // Who prefills for it holds it, too.
        const sender = prefill === undefined ? undefined : world.named(prefill.replica);
        if (sender !== undefined) follow(sender, prompt.chain, prefillLease({ id, attempt }));
      },
      reported: (replica, step) => {
        if (step.event !== "decoding") return;
        const path = leased.get(replica)?.findLast(({ id, attempt }) => id === step.id && attempt === step.attempt);
        if (path !== undefined && path.ends.some((hash) => held(replica, hash))) path.named = true;
      },
      framed: (replica, { entries }, need) => {
        // A frame after a gap is not taken; what is asked for instead says the same.
        if (need !== null) return;
        const named = new Set(entries.filter(({ tierBits }) => tierBits !== 0).map(({ hash }) => hash));
        const { leases } = world.pool.state;
        for (const path of leased.get(replica) ?? []) {
          if (path.named || typeof leases.get(path)?.firstTokenAtMs !== "number") continue;
          path.named = path.ends.some((hash) => named.has(hash));
        }
      },
    };
  },
};

export const BELIEVED: readonly Invariant[] = [transfers, loads, paths];
