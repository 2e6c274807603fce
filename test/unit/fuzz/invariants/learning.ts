/** What reports teach stays near what replicas really are. */
import type { LeaseReport } from "../../../../src/pool/frames.ts";
import { COLD_PREFILL_MS_PER_TOKEN, COLD_TRANSFER_MS_PER_TOKEN } from "../../../../src/rates/rate-book.ts";
import { score } from "../../../../src/decision/cost.ts";
import type { CandidateView } from "../../../../src/decision/decision.ts";
import { CACHE_AWARE } from "../../../../src/decision/profiles.ts";
import { BYTES_PER_TOKEN } from "../history.ts";
import type { Replica } from "../replica.ts";
import type { Invariant, Watch } from "../watch.ts";
import type { World } from "../world.ts";

/** Reports, each worth less where others waited beside it, before anything is asked. */
const ENOUGH = 12;
const HEALED_AFTER = 50;
/** After a time that was odd and true. */
const SOON_HEALED_AFTER = 20;
const SEEN = 40;
/** What was reported counts half after this: belief in the slowness of who is silent fades by half in 30 s, on purpose. */
const HALF_LIFE_MS = 15_000;

/** So far outside of the lengths seen: further on, one noisy report of the longest would decide. */
const FAR = 4;
/** Reports lean to one side by this share of their noise. */
const LEANING = 0.3;
/** What every prefill takes is taken to be worth so many tokens at first, as src/rates/rate-book.ts has it. */
const CONSTANT_TOKENS = 32;
/** Beyond this what no report has shown of attention is more than a factor. */
const LONGEST_ASKED = 4_096;
const SHORTEST_ASKED = 12;

type Decoding = Extract<LeaseReport, { event: "decoding" }>;

interface Predicted {
  /** What computing the prompt is believed to take, without what every prefill takes: that is left out of a price. */
  workMs: number;
  /** What its client is told: all of it, as it usually turns out. */
  predictedTtftMs: number;
}

/** For such a prompt on this replica when nothing runs there and nothing is held. */
function predicted({ pool: { state } }: World, { slot, name, setup }: Replica, tokens: number): Predicted {
  const holdings = { overlapSegments: 0, cachedTokens: 0, deviceTokens: 0, memoryTokens: 0, predictedTokens: 0 };
  const load = { inFlight: 0, contextTokens: 0, queuedPrefillMs: 0, stuckMs: 0, plannedMs: 0, liveKvTokens: 0, outputTokens: 0 };
  const view: CandidateView = {
    replica: slot,
    name,
    ...holdings,
    ...load,
    besideInFlight: 0,
    besideContextTokens: 0,
    kvTokens: setup.kvTokens,
    sequences: setup.sequences,
    queueLimit: setup.queueLimit,
    holdMs: Infinity,
    rates: state.rates.of(slot),
    eligible: true,
    prefills: false,
    decodeOnly: false,
    transfers: false,
  };
  const request = { promptTokens: tokens, promptBytes: tokens * BYTES_PER_TOKEN, segments: 0, excluded: [] };
  return score(view, request, CACHE_AWARE, state.rates.meanOutputTokens);
}

function withConstant(workMs: number, tokens: number): number {
  return (workMs * (tokens + CONSTANT_TOKENS)) / tokens;
}

interface HonestReports {
  worth: number;
  atMs: number;
  /** Honest ones in a row, since an untrue one of anybody. */
  sinceOdd: number;
  /** Long enough since then; or there was none. */
  isClean: boolean;
  /** Its own, the last of them. */
  lengths: number[];
}

/** Which reports the pool has had of how long honest replicas compute. */
class Reports {
  readonly #world: World;
  readonly #told = new Map<Replica, HonestReports>();
  lengths: number[] = [];
  /** The report that comes is one of a lease that is the replica's, and not of a time of silence. */
  #counts = false;
  /** There was one that was untrue or odd. */
  #hadOdd = false;

  constructor(world: World) {
    this.#world = world;
  }

  forget(): void {
    this.#told.clear();
    this.lengths = [];
  }

  forgetReplica(replica: Replica): void {
    this.#told.delete(replica);
  }

  reporting(replica: Replica, step: LeaseReport): void {
    const lease = this.#world.pool.state.leases.get(step);
    this.#counts =
      lease !== undefined &&
      lease.endedAtMs === null &&
      lease.replica === replica.slot &&
      !lease.interrupted &&
      lease.firstTokenAtMs === null;
  }

  /** Null: it says nothing of how long an honest replica computes. */
  reported(replica: Replica, step: LeaseReport): HonestReports | null {
    if (step.event !== "decoding" || (step.transfer?.kind === "prefill" && step.transfer.outcome === "used")) return null;
    const job = replica.job(step);
    if (replica.setup.hostile === true || job === undefined || job.ask.takes?.prefillMs !== undefined) {
      this.#hadOdd = true;
      for (const told of this.#told.values()) told.sinceOdd = 0;
      return null;
    }
    if (!this.#counts || step.promptTokens <= step.cachedTokens) return null;
    let beside = 0;
    for (const other of replica.jobs.values()) if (other.state !== "decoding") beside++;
    const { nowMs } = this.#world;
    const told = this.#told.get(replica) ?? { worth: 0, atMs: nowMs, sinceOdd: 0, isClean: true, lengths: [] };
    const worth = 1 / (1 + 10 * beside);
    told.worth = told.worth * 2 ** ((told.atMs - nowMs) / HALF_LIFE_MS) + worth;
    told.atMs = nowMs;
    told.sinceOdd += worth;
    const isHostile = this.#world.replicas.some(({ setup }) => setup.hostile === true);
    told.isClean = !this.#hadOdd || told.sinceOdd >= (isHostile ? HEALED_AFTER : SOON_HEALED_AFTER);
    this.#told.set(replica, told);
    for (const lengths of [this.lengths, told.lengths]) {
      lengths.push(step.promptTokens - step.cachedTokens);
      if (lengths.length > SEEN) lengths.shift();
    }
    return told;
  }
}

/** `check` is called after each honest report. */
function afterReports(world: World, check: (replica: Replica, told: HonestReports, lengths: readonly number[]) => void): Watch {
  const reports = new Reports(world);
  return {
    poolForgot: () => reports.forget(),
    forgotten: (replica) => reports.forgetReplica(replica),
    reporting: (replica, step) => reports.reporting(replica, step),
    reported: (replica, step) => {
      const told = reports.reported(replica, step);
      if (told !== null) check(replica, told, reports.lengths);
    },
  };
}

/** Second shortest and second longest of what was reported of late. */
function seenRange(lengths: readonly number[]): [number, number] {
  const sorted = lengths.toSorted((a, b) => a - b);
  return [sorted[1] ?? 0, sorted.at(-2) ?? 0];
}

function shortestKnown(lengths: readonly number[]): number {
  return Math.min(...lengths);
}

function offText(replica: Replica, tokens: number, ms: number): string {
  return `${tokens} tokens on ${replica.name}: predicted ${ms.toPrecision(3)} ms, really ${replica.prefillMs(0, tokens).toPrecision(3)} ms`;
}

function predictionsWithin(
  name: string,
  says: string,
  most: number,
  isOff: (times: number, most: number) => boolean,
  inside: boolean,
): Invariant {
  return {
    name,
    says,
    watch: (world, fail) =>
      afterReports(world, (replica, { worth, isClean, lengths: own }, lengths) => {
        // Where short prompts take a constant, nobody knows from them what long ones take.
        if (worth < ENOUGH || !isClean || (!inside && world.setup.constantTokens > shortestKnown(lengths))) return;
        // One noisy report of its longest prompt is no range to go on from.
        const [shortest, longest] = seenRange(inside ? lengths : own);
        const asked = inside ? [shortest, longest] : [shortest / FAR, longest * FAR];
        for (const length of asked) {
          const tokens = Math.round(Math.min(LONGEST_ASKED, Math.max(SHORTEST_ASKED, length)));
          const { workMs, predictedTtftMs } = predicted(world, replica, tokens);
          // Where prompts are alike nobody knows how much of their time every prefill takes: a price leaves it out, its client is told both.
          const ms = isOff === below ? Math.max(predictedTtftMs, withConstant(workMs, tokens)) : workMs;
          if (isOff(ms / replica.prefillMs(0, tokens), most * Math.exp(LEANING * world.setup.noise))) fail(offText(replica, tokens, ms));
        }
      }),
  };
}

const above = (times: number, most: number): boolean => !(times <= most);
const below = (times: number, most: number): boolean => !(times >= 1 / most);

const healed: Invariant = {
  name: "fifty reports heal",
  says: "50 honest reports bring a replica to within 1.3x whatever another one said",
  watch: (world, fail) =>
    afterReports(world, (replica, { worth, sinceOdd }, lengths) => {
      if (sinceOdd < HEALED_AFTER || worth < ENOUGH || lengths.length < SEEN) return;
      const tokens = Math.max(SHORTEST_ASKED, lengths.toSorted((a, b) => a - b)[SEEN >> 1] ?? 0);
      const { workMs } = predicted(world, replica, tokens);
      // Noise of what was reported, and the constant of short prompts, that a price may leave out.
      if (above(workMs / replica.prefillMs(0, tokens), 1.3 * Math.exp(world.setup.noise * 0.6))) fail(offText(replica, tokens, workMs));
    }),
};

const bytesPerToken: Invariant = {
  name: "bytes per token",
  says: "one odd prompt moves bytes per token at most fourfold, and 20 others bring it back to within 2x",
  watch: (world, fail) => {
    let honest = 0;
    return {
      poolForgot: () => (honest = 0),
      reported: (replica, step) => {
        if (step.event !== "decoding") return;
        const ask = replica.job(step)?.ask;
        honest = replica.setup.hostile === true || ask === undefined || ask.bytesPerToken !== undefined ? 0 : honest + 1;
        const times = world.pool.state.rates.bytesPerToken / BYTES_PER_TOKEN;
        const most = honest >= 20 ? 2 : 4.01;
        if (!(times <= most && times >= 1 / most))
          fail(`${(times * BYTES_PER_TOKEN).toPrecision(3)} bytes a token after ${honest} honest reports in a row`);
      },
    };
  },
};

function firstReport(name: string, says: string, isOff: (times: number, most: number) => boolean): Invariant {
  return {
    name,
    says,
    watch: (world, fail) => {
      const seen = { computed: false, moved: false };
      const check = (what: string, times: number): void => {
        if (isOff(times, 4.01)) fail(`${what} is believed to take ${times.toPrecision(3)} times what it was before the first report`);
      };
      const took = (replica: Replica, { promptTokens, cachedTokens, transfer }: Decoding): void => {
        const tokens = promptTokens - cachedTokens;
        if (!seen.computed && transfer === undefined && tokens > 0) {
          seen.computed = true;
          // Of one report alone some may be what every prefill takes, which is left out of the price.
          const { workMs } = predicted(world, replica, tokens);
          const ms = isOff === below ? withConstant(workMs, tokens) : workMs;
          check(`computing ${tokens} tokens`, ms / (tokens * COLD_PREFILL_MS_PER_TOKEN));
        }
        if (seen.moved || transfer?.kind !== "pull") return;
        seen.moved = true;
        check("a transfer", world.pool.state.rates.of(replica.slot).transferMsPerToken / COLD_TRANSFER_MS_PER_TOKEN);
      };
      return {
        reported: (replica, step) => {
          if (step.event === "decoding" && replica.job(step) !== undefined) took(replica, step);
        },
      };
    },
  };
}

// Too low is looser: of few and noisy reports a replica's own fit may lay too much on what every prefill takes, and a price leaves that out.
export const LEARNING: readonly Invariant[] = [
  predictionsWithin("predictions inside", "in the range of lengths seen no prediction is above 2x", 2, above, true),
  predictionsWithin("predictions outside", "outside of the lengths seen no prediction is above 4x", 4, above, false),
  predictionsWithin("predictions too low", "in the range of lengths seen no prediction is below a third", 3, below, true),
  healed,
  bytesPerToken,
  firstReport("first report slow", "a first report makes computing, or transfers, at most fourfold as slow as was believed", above),
  firstReport("first report quick", "a first report makes computing, or transfers, at most fourfold as quick as was believed", below),
];
