/** Themes of faults: what breaks, lies, fills up, or sets its clock. */
import { Background, replicaOf, setupOf } from "./background.ts";
import type { History, ReplicaSetup, Step } from "./history.ts";
import type { Random } from "./random.ts";
import type { Theme } from "./themes.ts";

const upTo = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));
const pass = (ms: number): Step => ({ do: "pass", ms });

function fleet(random: Random, count: number, changes: Partial<ReplicaSetup> = {}): ReplicaSetup[] {
  return upTo(count, () => replicaOf(random, changes));
}

/** Sockets break, answers get lost, processes and the pool begin again. */
export const churn: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 4)));
  const background = new Background(random, setup);
  const fault = (): Step => {
    const replica = random.int(0, setup.replicas.length - 1);
    return random.weighed<() => Step>([
      [3, () => ({ do: "cut", replica, ms: random.size(20, 4_000) })],
      [2, () => ({ do: "restart", replica, afterMs: random.size(50, 12_000) })],
      [2, () => ({ do: "freeze", replica, ms: random.size(1_000, 12_000) })],
      [2, () => ({ do: "checkpoint" })],
      [2, () => ({ do: "forget" })],
      [2, () => background.ask({ losesAnswer: true })],
      [2, () => background.ask({ patienceMs: random.size(1, 4_000) })],
      [1, () => ({ do: "drain", replica })],
    ])();
  };
  const steps = upTo(random.int(20, 60), () => [background.ask(), pass(random.size(10, 2_000)), ...(random.chance(60) ? [fault()] : [])]);
  return { setup, steps: steps.flat() };
};

/** The clock is set while replicas fall silent. */
export const clocks: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 3)));
  const background = new Background(random, setup);
  const steps = upTo(random.int(3, 8), (): Step[] => {
    const replica = random.int(0, setup.replicas.length - 1);
    return [
      background.ask(),
      pass(random.size(10, 3_000)),
      { do: "jump", ms: random.pick([-3_600_000, 3_600_000, -3_600_000, -20_000, 20_000]) },
      pass(random.size(10, 1_000)),
      random.pick<Step>([
        { do: "freeze", replica, ms: random.int(4_000, 20_000) },
        { do: "die", replica },
        background.ask({ patienceMs: 500 }),
      ]),
      pass(random.int(3_000, 20_000)),
    ];
  });
  return { setup, steps: steps.flat() };
};

/** Sessions with long prefixes of their own fill the KV cache of few replicas. */
export const longSessions: Theme = (random) => {
  const setup = setupOf(random, fleet(random, random.int(1, 2), { sequences: 16, queueLimit: 4, kvTokens: 40_960, pace: 1 }), {
    announceMs: 0,
    noise: 0.2,
  });
  const tokens = random.pick([3_000, 6_000]);
  const session = (id: number, at: number, outputTokens: number): Step => ({
    do: "ask",
    id,
    conversation: at,
    sharedTokens: tokens,
    tokens: tokens + 64,
    outputTokens,
  });
  const sessions = random.int(5, 8);
  const first = upTo(sessions, (at) => [session(at, at, 2), pass(3_000)]).flat();
  const again = upTo(sessions + random.int(2, 10), (at): Step[] => [
    session(100 + at, at, random.int(400, 2_000)),
    pass(random.int(20, 1_500)),
  ]).flat();
  return { setup, steps: [...first, ...again, pass(20_000)] };
};

/** What replicas hold fills the index, and leaves it. */
export const fullIndex: Theme = (random) => {
  const setup = setupOf(random, fleet(random, 2, { sequences: 4 }), { noise: 0.2, prefillMsPerToken: 0.1 });
  const background = new Background(random, setup);
  const [first, second] = [random.int(20_000, 40_000), random.int(20_000, 40_000)];
  const fill = (replica: number, count: number): Step[] => [
    { do: "fill", replica, from: 0, count, ...(random.chance(40) ? { sameDepth: true } : {}) },
    pass(random.size(10, 3_000)),
  ];
  return {
    setup,
    steps: [
      ...fill(0, first),
      background.ask(),
      ...fill(1, second),
      background.ask(),
      pass(random.int(2_000, 10_000)),
      random.pick<Step>([
        { do: "die", replica: 1 },
        { do: "empty", replica: 1, from: 0, count: second },
        { do: "restart", replica: 1, afterMs: 5_000 },
      ]),
      pass(50_000),
      background.ask(),
      ...(random.chance(30)
        ? [{ do: "lose", replica: 0, frames: 1 } as const, { do: "fill", replica: 0, from: first, count: 2_000 } as const]
        : []),
      pass(50_000),
    ],
  };
};

/** Days pass; what was used today is worth more than what was used yesterday. */
export const days: Theme = (random) => {
  const replicas = fleet(random, 1, { sequences: 4 });
  const setup = setupOf(random, replicas, { noise: 0 });
  const old = random.int(15_000, 25_000);
  const young = random.int(15_000, 22_000);
  const hours = (many: number): Step => ({ do: "idle", ms: many * 3_600_000 });
  const steps: Step[] = [
    // The index has been told the time.
    pass(1_000),
    { do: "fill", replica: 0, from: 0, count: old },
    hours(random.int(16, 18)),
    { do: "fill", replica: 0, from: old, count: young },
    ...(random.chance(50) ? [{ do: "use", id: 1, replica: 0, from: 0, count: random.int(100, 8_000) } as const] : []),
    hours(random.int(2, 4)),
    { do: "fill", replica: 0, from: old + young, count: 60_000 - old - young },
    pass(5_000),
  ];
  return { setup, steps };
};

const EXTREMES = [0, 5e-324, 1e-9, 0.001, 0.5, 1, 300, 1e5, 3_600_000, 1e12, 1.7e308] as const;
const COUNTS = [0, 1, 12, 500, 4_096, 100_000, 0xffffffff] as const;

function lie(random: Random): Step {
  const [ms, other, count, counted] = [random.pick(EXTREMES), random.pick(EXTREMES), random.pick(COUNTS), random.pick(COUNTS)];
  const of = random.pick(["own", "own", "other", "nobody"] as const);
  const transfer = {
    kind: random.pick(["pull", "prefill"] as const),
    replica: "r0",
    outcome: random.pick(["used", "fallback"] as const),
    bytes: count,
    ms: other,
    tokens: counted,
  };
  const more = random.pick<object>([{}, { loadMs: other, loadedTokens: counted }, { transfer }]);
  const report = random.weighed<Extract<Step, { do: "report" }>["report"]>([
    [5, { event: "decoding", promptTokens: count, cachedTokens: random.chance(50) ? 0 : counted, prefillMs: ms, ...more }],
    [3, { event: "settled", promptTokens: count, cachedTokens: counted, outputTokens: random.pick(COUNTS), decodeMs: ms }],
    [1, { event: "started" }],
    [1, { event: "refused" }],
  ]);
  return random.weighed<Step>([
    [8, { do: "report", replica: 0, of, times: random.pick([1, 1, 3]), report }],
    [1, { do: "hello", replica: 0, running: random.pick([3, 100, 4_096]), ...(random.chance(20) ? { sequences: 0xffffffff } : {}) }],
    [1, { do: "beat", replica: 0, outputTokens: random.pick(COUNTS), entries: random.pick(COUNTS), usedKvTokens: random.pick(COUNTS) }],
  ]);
}

/** One replica says what is valid and untrue. */
export const hostile: Theme = (random): History => {
  const replicas = [replicaOf(random, { hostile: true }), ...fleet(random, random.int(1, 3), { sequences: 8, queueLimit: 4 })];
  const setup = setupOf(random, replicas);
  const background = new Background(random, setup);
  const steps = upTo(random.int(15, 50), (): Step[] => [
    ...(random.chance(60) ? [background.ask()] : []),
    pass(random.size(5, 1_000)),
    lie(random),
    ...(random.chance(5) ? [{ do: "forget" } as const] : []),
  ]);
  // Then it is honest, or gone, for a while.
  const after: Step[] = [
    ...(random.chance(50) ? [{ do: "die", replica: 0 } as const] : []),
    background.ask({ count: 60, everyMs: 300, tokens: 300, sharedTokens: 0 }),
    pass(20_000),
  ];
  return { setup, steps: [...steps.flat(), ...after] };
};
