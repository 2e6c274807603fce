/** Nobody is refused, and nobody waits, beside a replica that could serve. */
import type { DecideAnswer } from "../../../../src/router/dispatcher.ts";
import type { Request } from "../edge.ts";
import type { Replica } from "../replica.ts";
import type { Invariant, Watch } from "../watch.ts";
import type { World } from "../world.ts";
import { isReadyFor, type Overdue, TEN_SECONDS, THREE_TIMES, Warmth } from "./waiting-world.ts";

/** The bound, a tick, and what a clock rounds. */
const SOON_MS = 1_300;
/** After a step of the clock. */
const JUMP_PATIENCE_MS = 5_000;
const LIKE_SIZE = 16;
const LIKE_REPORTS = 8;
/** A true time is so far from a deadline that no good prediction reaches it. */
const CLEARLY = 3;

type Refused = Extract<DecideAnswer, { type: "refused" }>;

/** When the clock was set last, true time. */
function jumpWatch(world: World): { jumped: () => void; readonly isRecent: boolean } {
  let atMs = -Infinity;
  return {
    jumped: () => (atMs = world.nowMs),
    get isRecent() {
      return world.nowMs - atMs < JUMP_PATIENCE_MS;
    },
  };
}

/** `overdue`: how long a warm replica's prefill excuses who waits for it; null: nothing does. */
function idle(name: string, says: string, overdue: Overdue | null): Invariant {
  return { name, says, watch: (world, fail) => besideIdle(world, fail, overdue) };
}

function besideIdle(world: World, fail: (message: string) => void, overdue: Overdue | null): Watch {
  const idleSince = new Map<Replica, number>();
  const jumps = jumpWatch(world);
  const warmth = new Warmth(world);
  const look = (replica: Replica, sinceMs: number): void => {
    for (const request of world.edge.waiting()) {
      const forMs = world.nowMs - Math.max(sinceMs, warmth.maySince(request, replica));
      if (forMs <= SOON_MS || (request.ask.tpotMs !== undefined && forMs <= 10_000)) continue;
      // Whom it can't serve in time may rather wait.
      if (overdue === null && (request.ask.deadlineMs !== undefined || request.ask.tpotMs !== undefined)) continue;
      const excusedMs = overdue === null ? 0 : warmth.excusedMs(request, replica, overdue);
      if (forMs > SOON_MS + excusedMs)
        fail(`${request.id} waits for ${forMs} ms beside ${replica.name}, which is idle; excused for ${Math.round(excusedMs)} ms`);
    }
  };
  return {
    ...warmth.watch,
    jumped: jumps.jumped,
    poolForgot: () => idleSince.clear(),
    ticked: () => {
      for (const replica of world.replicas) {
        const { leases } = world.pool.state;
        const isIdle = isReadyFor(world, replica) && leases.load(replica.slot).inFlight === 0 && !jumps.isRecent;
        if (!isIdle) idleSince.delete(replica);
        else if (!idleSince.has(replica)) idleSince.set(replica, world.nowMs);
        const sinceMs = idleSince.get(replica);
        if (sinceMs !== undefined && world.nowMs - sinceMs > SOON_MS) look(replica, sinceMs);
      }
    },
  };
}

const sequences: Invariant = {
  name: "free sequences",
  says: "nobody waits over 1 s beside a replica that has sequences and most of its KV cache free",
  watch: (world, fail) => {
    const freeSince = new Map<Replica, number>();
    const warmth = new Warmth(world);
    const jumps = jumpWatch(world);
    const outputs = { sum: 0, count: 0, most: 0 };
    /** Even if all wrote four times as much as answers do, the longest left out. */
    const room = (replica: Replica, { prompt }: Request): boolean => {
      const { sequences: all, kvTokens } = replica.setup;
      const mean = Math.max(64, (outputs.sum - outputs.most) / Math.max(1, outputs.count - 1));
      return prompt.tokens + replica.jobs.load().usedKvTokens + 4 * 0.7 * Math.max(mean, 256) * all < kvTokens;
    };
    const isFree = (replica: Replica): boolean => {
      if (!isReadyFor(world, replica) || replica.setup.hostile === true || jumps.isRecent) return false;
      const { inFlight, queuedPrefillMs } = world.pool.state.leases.load(replica.slot);
      return inFlight < 0.75 * replica.setup.sequences && queuedPrefillMs === 0;
    };
    return {
      ...warmth.watch,
      jumped: jumps.jumped,
      poolForgot: () => freeSince.clear(),
      reported: (replica, step) => {
        if (step.event !== "settled" || replica.setup.hostile === true) return;
        outputs.sum += step.outputTokens;
        outputs.count++;
        outputs.most = Math.max(outputs.most, step.outputTokens);
      },
      ticked: () => {
        for (const replica of world.replicas) {
          if (!isFree(replica)) freeSince.delete(replica);
          else if (!freeSince.has(replica)) freeSince.set(replica, world.nowMs);
          const sinceMs = freeSince.get(replica);
          if (sinceMs === undefined || world.nowMs - sinceMs <= SOON_MS) continue;
          for (const request of world.edge.waiting()) {
            if (request.ask.tpotMs !== undefined || !room(replica, request)) continue;
            const forMs = world.nowMs - Math.max(sinceMs, warmth.maySince(request, replica));
            if (forMs > SOON_MS + warmth.excusedMs(request, replica, TEN_SECONDS))
              fail(
                `${request.id} waits for ${forMs} ms beside ${replica.name}, which runs ${replica.jobs.size} of ${replica.setup.sequences}`,
              );
          }
        }
      },
    };
  },
};

/** Replicas that have a sequence free for it. */
function free(world: World, request: Request): Replica[] {
  return world.replicas.filter(
    (replica) =>
      isReadyFor(world, replica) &&
      world.pool.state.leases.load(replica.slot).inFlight < replica.setup.sequences &&
      !request.failures.some((failure) => failure.replica === replica),
  );
}

function onRefusal(
  name: string,
  says: string,
  why: (world: World, request: Request, refused: Refused, lineBefore: number, lengths: readonly number[]) => string | null,
): Invariant {
  return {
    name,
    says,
    watch: (world, fail) => {
      const jumps = jumpWatch(world);
      // What a checkpoint keeps of them is the pool's to say.
      const lengths: number[] = [];
      return {
        jumped: jumps.jumped,
        reported: (_replica, step) => {
          if (step.event === "decoding") lengths.push(step.promptTokens - step.cachedTokens);
        },
        answered: (request, answer, lineBefore) => {
          if (answer?.type !== "refused" || jumps.isRecent) return;
          const wrong = why(world, request, answer, lineBefore, lengths);
          if (wrong !== null) fail(`${request.id} of ${request.prompt.tokens} tokens: "${answer.message}" ${wrong}`);
        },
      };
    },
  };
}

const isForDeadline = ({ message }: Refused): boolean => message.includes("deadline");

const evidence = onRefusal(
  "refusal needs evidence",
  "while nobody waits and a sequence is free nobody is refused; for a deadline only after 8 reports of a like size",
  (world, request, refused, lineBefore, lengths) => {
    const [open] = free(world, request);
    if (lineBefore > 0 || open === undefined) return null;
    if (!isForDeadline(refused)) return `while ${open.name} has a sequence free`;
    const { deadlineMs = 0 } = request.question;
    if (deadlineMs <= world.pool.nowMs()) return null;
    const tokens = Math.max(1, request.prompt.tokens - open.held.overlap(request.prompt).deviceTokens);
    const like = lengths.filter((length) => length * LIKE_SIZE > tokens && length < tokens * LIKE_SIZE).length;
    return like < LIKE_REPORTS ? `after ${like} reports of a like size, while ${open.name} has a sequence free` : null;
  },
);

const deadlines = onRefusal(
  "deadline in reach",
  "nobody is refused for a deadline that an idle replica would keep three times over",
  (world, request, refused) => {
    if (!isForDeadline(refused)) return null;
    const leftMs = request.cameAtMs + (request.question.deadlineMs ?? 0) - world.nowMs;
    for (const replica of free(world, request)) {
      if (replica.jobs.size > 0 || replica.setup.hostile === true || world.pool.state.leases.load(replica.slot).inFlight > 0) continue;
      const ms = replica.prefillMs(0, request.prompt.tokens);
      if (ms * CLEARLY < leftMs) return `while ${replica.name} is idle and takes ${Math.round(ms)} of ${Math.round(leftMs)} ms`;
    }
    return null;
  },
);

const ninety = onRefusal(
  "ninety seconds",
  "`would wait longer than 90 s` is said only when requests ahead really make it so",
  (world, request, { message }, lineBefore) => {
    if (!message.includes("90 s") || lineBefore > 8) return null;
    let workMs = 0;
    const fastest = Math.min(...world.replicas.filter((replica) => isReadyFor(world, replica)).map(({ setup }) => setup.pace));
    for (const other of world.edge.open.values())
      if (other !== request && !other.hasFirstToken) workMs += fastest * world.setup.prefillMsPerToken * other.prompt.tokens * 2;
    return fastest < Infinity && workMs < 10_000 ? `behind ${lineBefore} in line and ${Math.round(workMs)} ms of prefill` : null;
  },
);

export const WAITING: readonly Invariant[] = [
  idle(
    "idle replica",
    "nobody waits over 1 s beside an idle ready replica that it may go to, at most 10 s longer than a warm one should have taken",
    TEN_SECONDS,
  ),
  idle(
    "idle replica gets somebody",
    "a replica that is idle for over 1 s gets somebody of those who may go there, whatever they wait for",
    null,
  ),
  idle("overdue prefill", "a prefill binds its followers for three times its prediction at most", THREE_TIMES),
  sequences,
  evidence,
  deadlines,
  ninety,
];
