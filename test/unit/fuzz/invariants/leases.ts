/** Leases: bounded, whose they are, and gone when nobody runs them. */
import type { LeaseReport } from "../../../../src/pool/frames.ts";
import type { Lease } from "../../../../src/pool/lease.ts";
import { keyText } from "../jobs.ts";
import type { Replica } from "../replica.ts";
import type { Invariant } from "../watch.ts";

/** A replica that claims more sequences is believed so many. */
const MOST_PER_REPLICA = 2_048;
/** A reservation lives 5 s, a lease two heartbeats that omit it; a tick more. */
const UNRUN_MS = 6_500;
/** The same where its replica fell silent first. */
const LOST_MS = 16_000;

const live: Invariant = {
  name: "answer has a lease",
  says: "whoever is sent to a replica has a live lease there",
  watch: (world, fail) => ({
    placed: ({ id }, replica, { attempt }) => {
      const lease = world.pool.state.leases.get({ id, attempt });
      if (lease === undefined || lease.endedAtMs !== null)
        fail(`attempt ${attempt} of ${id} was sent to ${replica.name} without a live lease`);
      else if (lease.replica !== replica.slot)
        fail(`attempt ${attempt} of ${id} was sent to ${replica.name}, its lease is on slot ${lease.replica}`);
    },
  }),
};

const bounded: Invariant = {
  name: "leases bounded",
  says: "a replica has at most as many leases as it has sequences and places in its queue",
  watch: (world, fail) => {
    /** Taken up so late that another one was sent in their place: their replica refuses what is too much for it. */
    const doubted = new Set<string>();
    const look = ({ slot, name }: Replica): void => {
      const { state } = world.pool;
      const capacity = state.replica(slot)?.capacity;
      if (capacity === undefined) return;
      let inFlight = 0;
      for (const lease of state.leases.leasesOf(slot)) {
        if (lease.doubted) doubted.add(keyText(lease));
        if (!doubted.has(keyText(lease))) inFlight++;
      }
      const most = Math.min(MOST_PER_REPLICA, capacity.sequences + capacity.queueLimit);
      if (inFlight > most) fail(`${inFlight} leases on ${name}, which has room for ${most}`);
      if (doubted.size > 4_096) doubted.clear();
    };
    return {
      joined: look,
      ticked: () => {
        for (const replica of world.replicas) if (replica.connection !== null) look(replica);
      },
    };
  },
};

const run: Invariant = {
  name: "leases are run",
  says: "a lease that its replica does not have ends after two heartbeats",
  watch: (world, fail) => {
    const missingSince = new Map<string, number>();
    const unheardAt = new Map<Replica, number>();
    const check = (replica: Replica, lease: Lease): void => {
      const key = `${replica.name} ${keyText(lease)}`;
      if (replica.job(lease) !== undefined) return void missingSince.delete(key);
      const sinceMs = missingSince.get(key);
      if (sinceMs === undefined) return void missingSince.set(key, world.nowMs);
      const calmMs = world.nowMs - Math.max(sinceMs, unheardAt.get(replica) ?? 0);
      if (calmMs > UNRUN_MS || world.nowMs - sinceMs > LOST_MS)
        fail(`${lease.state} lease ${keyText(lease)} on ${replica.name}, which has not had it for ${world.nowMs - sinceMs} ms`);
    };
    return {
      poolForgot: () => missingSince.clear(),
      ticked: () => {
        const { leases, membership } = world.pool.state;
        for (const { slot, name } of membership.replicas) {
          const replica = world.named(name);
          if (replica === undefined) continue;
          if (replica.connection === null || replica.frozen) unheardAt.set(replica, world.nowMs);
          for (const lease of leases.leasesOf(slot)) check(replica, lease);
        }
        if (missingSince.size > 4_096) missingSince.clear();
      },
    };
  },
};

const own: Invariant = {
  name: "only its own",
  says: "a replica's report changes no other's lease",
  watch: (world, fail) => {
    let before: { lease: Lease; was: Lease } | null = null;
    return {
      reporting: (replica, step) => {
        const lease = world.pool.state.leases.get(step);
        before = lease === undefined || lease.endedAtMs !== null || lease.replica === replica.slot ? null : { lease, was: { ...lease } };
      },
      reported: (replica, { event }) => {
        if (before === null) return;
        const { lease, was } = before;
        if (lease.state !== was.state || lease.endedAtMs !== was.endedAtMs || lease.outputTokens !== was.outputTokens)
          fail(`${replica.name} said "${event}" of ${keyText(lease)}, which is on slot ${was.replica}: ${was.state} became ${lease.state}`);
      },
    };
  },
};

const once: Invariant = {
  name: "settled once",
  says: "a settle counts once, however often it is repeated",
  watch: (world, fail) => {
    const settled = new Set<string>();
    return {
      poolForgot: () => settled.clear(),
      reported: (_replica, step) => {
        if (step.event !== "settled") return;
        settled.add(keyText(step));
        const { counters } = world.pool.state;
        if (counters.settled > settled.size) fail(`${settled.size} requests have ended, ${counters.settled} are counted`);
      },
    };
  },
};

const cached: Invariant = {
  name: "cached at most all",
  says: "nobody is believed to have reused more than there was",
  watch: (world, fail) => ({
    reported: (replica, step: LeaseReport) => {
      if (step.event !== "decoding" && step.event !== "settled") return;
      const { counters, ring } = world.pool.state;
      if (counters.reportedCachedTokens > counters.promptTokens)
        fail(`${counters.reportedCachedTokens} of ${counters.promptTokens} prompt tokens are counted as cached`);
      const outcome = ring.get(step.id, step.attempt)?.outcome;
      if ((outcome?.cachedTokens ?? 0) > (outcome?.promptTokens ?? Infinity))
        fail(`${replica.name} is believed ${outcome?.cachedTokens} cached of ${outcome?.promptTokens} tokens`);
    },
  }),
};

const gone: Invariant = {
  name: "all gone at the end",
  says: "when faults are over and everything had its time, no lease is left, nobody waits, and no load is believed",
  watch: (world, fail) => ({
    ended: () => {
      const { leases, line } = world.pool.state;
      if (leases.size > 0) fail(`${leases.size} leases are left`);
      if (line.length > 0 || world.edge.open.size > 0) fail(`${line.length} wait in line, ${world.edge.open.size} requests are open`);
      for (const { slot, name } of world.replicas) {
        const left = Object.entries(leases.load(slot)).filter(([, value]) => value !== 0);
        if (left.length > 0) fail(`${name} is believed to have ${JSON.stringify(Object.fromEntries(left))}`);
      }
    },
  }),
};

export const LEASES: readonly Invariant[] = [live, bounded, run, own, once, cached, gone];
