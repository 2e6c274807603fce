/** Clocks, KV caches, numbers and records. */
import { replay } from "../../../../src/explain/record.ts";
import type { Decision } from "../../../../src/decision/decision.ts";
import { SEGMENT_TOKENS } from "../history.ts";
import type { Request } from "../edge.ts";
import { readBack } from "../kept-record.ts";
import type { Replica } from "../replica.ts";
import type { Invariant } from "../watch.ts";

/** As pool/membership.ts has them, a tick later (a second, where nobody asks for hours). */
const SUSPECT_MS = 3_000 + 1_100;
const READY_AGAIN_MS = 5_000;
/** One decision of so many. */
const READ_BACK = 7;
/** A burst comes between two heartbeats. */
const BURST = 1.2;

const silent: Invariant = {
  name: "silent replica",
  says: "a replica that says nothing for 3 s of real time is given nothing, whatever the clock does",
  watch: (world, fail) => ({
    ticked: () => {
      for (const replica of world.replicas) {
        const { slot, name, heardAtMs } = replica;
        const known = world.pool.state.replica(slot);
        if (known?.name === name && known.state === "ready" && world.nowMs - heardAtMs > SUSPECT_MS)
          fail(`${name} is ready, and has said nothing for ${world.nowMs - heardAtMs} ms`);
      }
    },
  }),
};

const heard: Invariant = {
  name: "heard replica",
  says: "a replica that says hello and beats is ready 5 s later at most, whatever the clock does",
  watch: (world, fail) => {
    const badSince = new Map<Replica, number>();
    return {
      ticked: () => {
        for (const replica of world.replicas) {
          const known = world.pool.state.replica(replica.slot);
          const isFine = known?.name === replica.name && known.state === "ready";
          if (isFine || !replica.alive || replica.frozen || replica.draining) badSince.set(replica, world.nowMs);
          const forMs = world.nowMs - (badSince.get(replica) ?? 0);
          // A socket that is cut for long is the history's doing.
          if (replica.connection !== null && forMs > READY_AGAIN_MS && world.nowMs - replica.joinedAtMs > READY_AGAIN_MS)
            fail(`${replica.name} beats, and has not been ready for ${forMs} ms`);
        }
      },
    };
  },
};

interface Beaten {
  usedKvTokens: number;
  removed: number;
}

const room: Invariant = {
  name: "KV room",
  says: "nobody is sent to a busy replica whose KV cache, by its heartbeat or by what runs there, has no room for it",
  watch: (world, fail) => {
    const beaten = new Map<Replica, Beaten>();
    return {
      beaten: (replica, { load }) => void beaten.set(replica, { usedKvTokens: load.usedKvTokens, removed: replica.jobs.removed }),
      joined: (replica) => void beaten.delete(replica),
      placed: (request, replica) => {
        if (replica.setup.hostile === true || request.ask.counts === true) return;
        const { leases } = world.pool.state;
        // A lease that its replica has not taken up in 1.5 s weighs nothing until it does, and ends after 5 s: its client may have left.
        // One that was taken on again after the pool lost its memory weighs what the heartbeat says: nobody knows its prompt until it is computed.
        const weighs = (other: Request): boolean => {
          const lease = leases.get(other);
          return lease?.endedAtMs === null && !lease.doubted && lease.prompt !== undefined;
        };
        const others = [...world.edge.open.values()].filter(
          (other) => other.on === replica && other !== request && other.ask.counts !== true && weighs(other),
        );
        if (others.length === 0 || replica.jobs.size === 0) return;
        const { kvTokens } = replica.setup;
        const neededTokens = unionTokens([...others, request]);
        if (neededTokens > BURST * kvTokens)
          fail(`${request.id} makes ${others.length + 1} run on ${replica.name} with ${neededTokens} tokens of ${kvTokens}`);
        const beat = beaten.get(replica);
        if (beat === undefined || beat.removed !== replica.jobs.removed) return;
        const newTokens = request.prompt.tokens - replica.held.overlap(request.prompt).deviceTokens;
        if (beat.usedKvTokens + newTokens > kvTokens)
          fail(
            `${request.id} adds ${newTokens} tokens on ${replica.name}, where ${beat.usedKvTokens} of ${kvTokens} are used by its own word`,
          );
      },
    };
  },
};

/** Of all their prompts, shared segments once. */
function unionTokens(requests: readonly Request[]): number {
  const union = new Set<bigint>();
  let rest = 0;
  for (const { prompt } of requests) {
    for (const hash of prompt.chain) union.add(hash);
    rest += prompt.tokens - prompt.chain.length * SEGMENT_TOKENS;
  }
  return union.size * SEGMENT_TOKENS + rest;
}

const finite: Invariant = {
  name: "numbers",
  says: "every number that the pool has learnt or adds up is finite and not negative",
  watch: (world, fail) => {
    const look = (replicas: readonly Replica[]): void => {
      const { rates, leases, line, counters } = world.pool.state;
      for (const { slot, name } of replicas) {
        for (const [what, value] of Object.entries({ ...rates.of(slot), ...leases.load(slot) }))
          if (!(Number.isFinite(value) && value >= 0)) fail(`${what} of ${name} is ${value}`);
        for (const what of ["prefillMsPerToken", "loadMsPerToken", "transferMsPerToken"] as const)
          if (!(rates.of(slot)[what] > 0)) fail(`${what} of ${name} is ${rates.of(slot)[what]}`);
      }
      const { bytesPerToken, meanOutputTokens } = rates;
      for (const [what, value] of Object.entries({
        ...counters,
        bytesPerToken,
        meanOutputTokens,
        lineMs: line.workMs,
        paceMs: line.paceMs,
      }))
        if (!(Number.isFinite(value) && value >= 0)) fail(`${what} is ${value}`);
    };
    return {
      reported: (replica) => look([replica]),
      ticked: () => look(world.replicas.filter(({ slot }) => slot >= 0)),
    };
  },
};

const records: Invariant = {
  name: "records replay",
  says: "a decision's record, read back from its row, decides the same",
  watch: (world, fail) => ({
    placed: (request) => {
      const replayed = world.decisionOf(request);
      if (replayed === null) return fail(`no record of attempt ${request.attempt} of ${request.id}`);
      const { record, decision } = replayed;
      // As a row keeps it, now and then: that takes longer than all else.
      const again = request.number % READ_BACK === 0 ? replay(readBack(record)) : decision;
      if (textOf(record.decision) !== textOf(again)) fail(`decided ${textOf(record.decision)}, again ${textOf(again)}`);
    },
  }),
};

function textOf({ chosen, outcome, reason, transfer }: Pick<Decision, "chosen" | "outcome" | "reason" | "transfer">): string {
  return JSON.stringify({ chosen, outcome, reason, transfer });
}

export const STATE: readonly Invariant[] = [silent, heard, room, finite, records];
