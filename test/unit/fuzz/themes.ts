/**
 * What histories are about. Rare things need many steps that lead there, which chance alone never finds: each history has a theme that leads to one kind
 * of them, with chances of its own, and background steps between (swarm testing: Groce et al., ISSTA 2012, doi 10.1145/2338965.2336763).
 */
import { Background, replicaOf, setupOf } from "./background.ts";
import type { Ask, History, ReplicaSetup, Setup, Step } from "./history.ts";
import type { Random } from "./random.ts";

export type Theme = (random: Random) => History;

const upTo = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));

const pass = (ms: number): Step => ({ do: "pass", ms });

function ask(id: number, tokens: number, changes: Partial<Ask> = {}): Ask {
  return { do: "ask", id, conversation: 100 + id, sharedTokens: 0, tokens, outputTokens: 8, ...changes };
}

/** Background between the steps, with a chance of `percent` before each. */
function among(random: Random, setup: Setup, steps: readonly Step[], percent: number, calm = false): Step[] {
  const background = new Background(random, setup);
  return steps.flatMap((step) => (random.chance(percent) ? [calm ? background.calmStep() : background.step(), step] : [step]));
}

function fleet(random: Random, count: number, changes: Partial<ReplicaSetup> = {}): ReplicaSetup[] {
  return upTo(count, () => replicaOf(random, changes));
}

export const anything: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 5)));
  const background = new Background(random, setup);
  return { setup, steps: upTo(random.int(40, 160), () => background.step()) };
};

/** Many short chats teach much of the same. */
export const manyChats: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(2, 4), { sequences: 8, queueLimit: 8 }), {
    noise: 0.6,
    remotePrefillTokens: null,
  });
  const tokens = random.pick([12, 40, 200]);
  const steps: Step[] = upTo(random.int(8, 16), (at) => [
    ask(at * 1_000, tokens, { count: 400, everyMs: random.int(10, 40), outputTokens: random.pick([1, 4]) }),
    pass(17_000),
    ...(random.chance(30) ? [ask(at * 1_000 + 900, random.size(200, 2_000), { count: 4 }), pass(3_000)] : []),
  ]).flat();
  return { setup, steps: [...steps, ask(900_000, 1_800), pass(5_000), ask(900_001, 350, { count: 8 }), pass(20_000)] };
};

/** A few chats, then many longer prompts at once. */
export const coldBurst: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 3), { sequences: 16, queueLimit: 16, kvTokens: 131_072 }), {
    constantTokens: random.pick([8, 100]),
  });
  const chats = upTo(random.int(1, 14), (at) => [ask(at, 13), pass(random.int(50, 400))]).flat();
  const burst = ask(100, random.size(300, 2_000), { count: random.int(8, 18), ...(random.chance(50) ? { deadlineMs: 30_000 } : {}) });
  return { setup, steps: [...chats, burst, pass(20_000)] };
};

/** The first report of all is an odd one. */
export const oddFirst: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 2), { sequences: 16, queueLimit: 4, kvTokens: 131_072, pace: 1 }), {
    prefillMsPerToken: 0.1,
  });
  const first = random.pick<Ask>([
    ask(0, 12, { takes: { prefillMs: random.pick([300, 3_000]) } }),
    ask(0, 1_600, { bytesPerToken: 1_250 }),
    ask(0, 12, { outputTokens: 32_768 }),
  ]);
  const long = random.pick([500, 4_000]);
  const after = random.chance(50)
    ? upTo(random.int(20, 60), (at) => [ask(10 + at, long, { deadlineMs: 30_000 }), pass(random.int(200, 900))]).flat()
    : [
        ask(10, long, { count: 16, outputTokens: random.pick([200, 600]) }),
        pass(30_000),
        ask(40, 13, { count: 60, everyMs: 100 }),
        pass(10_000),
      ];
  return { setup, steps: [first, pass(first.outputTokens * 20 + 4_000), ...after] };
};

/** A pull, or a load, is slow once; then the same is right again and again. */
export const slowOnce: Theme = (random) => {
  const loads = random.chance(50);
  const replicas = fleet(random, loads ? 1 : 2, {
    transfers: !loads,
    sequences: 4,
    queueLimit: 2,
    kvTokens: loads ? 16_384 : 131_072,
    hostTokens: loads ? 131_072 : 0,
    pace: 1,
  });
  const setup = setupOf(random, replicas, { prefillMsPerToken: 0.4, announceMs: 0, remotePrefillTokens: null, noise: 0.2 });
  const slow = { takes: loads ? { loadMs: 8_000 } : { transferMs: 2_000 } };
  const tokens = random.int(3_000, 4_000);
  const restMs = random.size(15_000, 60_000);
  const turn = (at: number, changes: Partial<Ask> = {}): Step[] => {
    const of = { conversation: loads ? at % 8 : 100 + at, sharedTokens: tokens, outputTokens: loads ? 8 : 64, ...changes };
    // Where loads are asked for all was evicted; else too many come at once for the one that holds it.
    return loads
      ? [{ do: "evict", replica: 0, tokens: 200_000 }, ask(at * 10, tokens + 64, of), pass(restMs / 4)]
      : [ask(at * 10, tokens, of), pass(2_500), ask(at * 10 + 1, tokens + 64, { ...of, count: 7 }), pass(restMs)];
  };
  // All of a conversation have to be held before they are evicted.
  const first = upTo(loads ? 16 : 4, (at) => turn(at, slow));
  const more = upTo(random.int(25, 60), (at) => turn(16 + at));
  return { setup, steps: [...first, ...more].flat() };
};

/** Prompts are evicted as soon as they were computed. */
export const evictions: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 3), { hostTokens: 0 }), {
    announceMs: random.pick([-1, -1, 0, 100]),
    remotePrefillTokens: null,
  });
  const steps: Step[] = upTo(random.int(20, 60), (at) => [
    ask(at * 10, random.size(200, 4_000), {
      conversation: random.int(0, 3),
      sharedTokens: 100_000,
      outputTokens: random.int(1, 40),
      count: random.int(1, 3),
    }),
    pass(random.size(50, 3_000)),
    ...(random.chance(60) ? [{ do: "evict", replica: random.int(0, 2), tokens: 200_000 } as const, pass(random.size(10, 2_000))] : []),
  ]).flat();
  return { setup, steps: among(random, setup, steps, 10) };
};

/** Many who may not go where there is room, and one who may. */
export const crowd: Theme = (random) => {
  const replicas = [replicaOf(random, { pace: 1 }), replicaOf(random, { sequences: 2, queueLimit: 0, pace: 1 })];
  const setup = setupOf(random, replicas, { noise: 0.2 });
  const steps: Step[] = [
    ask(0, 50, { count: 10, everyMs: 30 }),
    pass(4_000),
    { do: "freeze", replica: 0, ms: 4_000 },
    pass(3_600),
    ask(100, 500, { count: 4, outputTokens: 3_000 }),
    pass(200),
    ask(200, 300, { count: random.int(50, 90), failed: 0, outputTokens: 300 }),
    pass(100),
    ask(400, 300, { count: random.int(1, 3), ...(random.chance(30) ? { priority: "low" } : {}) }),
    pass(random.int(2_000, 30_000)),
    ...(random.chance(50) ? [{ do: "restart", replica: 0, afterMs: 200 } as const, pass(20_000)] : []),
  ];
  return { setup, steps };
};

/** A prefill hangs, and its followers are warm there. */
export const hanging: Theme = (random) => {
  const setup = setupOf(random, fleet(random, 2, { kvTokens: 131_072, pace: 1, transfers: false }), {
    noise: 0.2,
    announceMs: 0,
    remotePrefillTokens: null,
  });
  const tokens = random.size(8_000, 60_000);
  const steps: Step[] = [
    ask(0, 400, { count: 20, everyMs: 200 }),
    pass(6_000),
    ask(100, tokens, { conversation: 7, sharedTokens: tokens }),
    pass(tokens),
    { do: "hang", replica: 0, ms: random.pick([3_000, 120_000]) },
    { do: "hang", replica: random.pick([0, 1]), ms: 120_000 },
    ask(200, tokens + random.size(300, 20_000), { conversation: 7, sharedTokens: tokens }),
    pass(100),
    ask(201, tokens + 200, { conversation: 7, sharedTokens: tokens, count: random.int(1, 12) }),
    pass(random.int(15_000, 60_000)),
  ];
  return { setup, steps };
};
