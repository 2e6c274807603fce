/**
 * How often and where a request is tried, and how that ends. The pools are asked in their order, then the first one's line is waited in; in each pool a
 * replica is tried, and others when it is busy or lost, also when it is lost while it answers. What becomes of a lease is told to its pool from here alone.
 */
import { type ApiError, apiError } from "../../src/errors.ts";
import { MOST_WAIT_MS } from "../../src/limits.ts";
import type { Ask, DecideAnswer, FailedAttempt, PoolCard } from "../../src/router/dispatcher.ts";
import { poolStub } from "../pool-stub.ts";
import { steadyNowMs } from "../steady-clock.ts";
import type { InferenceCall } from "./call.ts";
import { choosePools, type ChosenPools, type PoolTarget } from "./choose.ts";
import { type Acceptance, place, type Placed } from "./place.ts";

const MOST_TRIES = 4;
/** Replicas that began a new epoch meanwhile were not tried; but nobody asks for ever. */
const MOST_REPLACED = 8;

export type Attempt = { type: "placed"; placed: Placed } | { type: "error"; error: ApiError };

/** Attempts are counted by each pool for itself. */
interface LostAttempt extends FailedAttempt {
  pool: string;
}

interface Turn {
  target: PoolTarget;
  /** Another pool may take it, so nothing is waited for longer than one call holds. */
  elsewhere: boolean;
}

/** What asking a pool once comes to. full: it has no replica for the request. */
type Step = Attempt | { type: "again" } | { type: "full"; error: ApiError } | { type: "stale_card"; card: PoolCard };

const overloaded = (message: string, retryAfterSeconds: number): ApiError => ({ ...apiError("overloaded", message), retryAfterSeconds });
const gone = (): Attempt => ({ type: "error", error: apiError("replica_lost", "The client has gone.") });

function turnsOf({ targets }: ChosenPools): Turn[] {
  const [first] = targets;
  const inLine = { target: first, elsewhere: false };
  return targets.length === 1 ? [inLine] : [...targets.map((target) => ({ target, elsewhere: true })), inLine];
}

export class Attempts {
  readonly #call: InferenceCall;
  readonly #accepted: (by: Acceptance) => void;
  readonly #lost: LostAttempt[] = [];
  /** Pools in which all tries are used up. */
  readonly #spent = new Set<string>();
  #chosen: ChosenPools;
  #isChosenAnew = false;

  /** `accepted`: hears of each replica that has the request, before its verdict. */
  constructor(call: InferenceCall, chosen: ChosenPools, accepted: (by: Acceptance) => void) {
    this.#call = call;
    this.#chosen = chosen;
    this.#accepted = accepted;
  }

  /** Where the request goes, as it was chosen. */
  get chosen(): ChosenPools {
    return this.#chosen;
  }

  /** The next replica that takes the request, and its word on it. */
  async next(): Promise<Attempt> {
    const { client, here } = this.#call;
    let turns = turnsOf(this.#chosen);
    let asking: PoolTarget | null = null;
    // What runs here may end with its client; the pool must hear of it all the same.
    const stop = client.whenLeft(() => {
      if (asking !== null) here.background(this.#leave(asking).catch(() => undefined));
    });
    try {
      for (;;) {
        const [turn] = turns;
        if (turn === undefined || client.hasLeft) return gone();
        asking = turn.target;
        const step = await this.#ask(turn);
        switch (step.type) {
          case "again":
            break;
          case "full":
            turns = turns.slice(1);
            if (turns.length === 0 || client.hasLeft) return { type: "error", error: step.error };
            break;
          case "stale_card": {
            const problem = await this.#chooseAnew(step.card);
            if (problem !== null) return { type: "error", error: problem };
            turns = turnsOf(this.#chosen);
            break;
          }
          default:
            return step;
        }
      }
    } finally {
      stop();
    }
  }

  /** Its replica was lost before the client had anything of the answer: the next one is another. */
  lost({ pool, replica, epoch, attempt }: Placed): void {
    this.#lost.push({ pool, replica, epoch, attempt });
  }

  /** The answer has come to its end. */
  answered(placed: Placed): void {
    this.#call.here.view.noteAnswered(placed.pool, placed);
  }

  /** Ends the lease of what no engine runs or runs any more. `isToBlame`: its replica was lost, and the client had not left. */
  release({ pool, attempt }: Placed, isToBlame = false): Promise<void> {
    return poolStub(this.#call.here.env, pool).release(this.#chosen.id, attempt, isToBlame);
  }

  /** Whether the pool still hears of the request. */
  leaseAlive({ pool, attempt }: Placed): Promise<boolean> {
    return poolStub(this.#call.here.env, pool).leaseAlive(this.#chosen.id, attempt);
  }

  /** Idempotent. `pool`: of the replica that has computed the prompt; null: none will. */
  prefilled(pool: string | null): void {
    this.#chosen.prefilled(pool);
  }

  #leave({ pool, decide }: PoolTarget): Promise<void> {
    return poolStub(this.#call.here.env, pool).leave(decide.id);
  }

  /** A pool that can't be reached is like one that has no replica, as long as there is another. */
  #ask(turn: Turn): Promise<Step> {
    const step = this.#askOnce(turn);
    return turn.elsewhere ? step.catch((): Step => ({ type: "full", error: apiError("overloaded", "") })) : step;
  }

  async #askOnce({ target, elsewhere }: Turn): Promise<Step> {
    const { here, ticker, client } = this.#call;
    const { pool, decide } = target;
    const lost = this.#lost.filter((attempt) => attempt.pool === pool).map(({ pool: _pool, ...attempt }): FailedAttempt => attempt);
    const replaced = lost.filter((attempt) => attempt.replaced === true).length;
    if (lost.length - replaced >= MOST_TRIES || replaced >= MOST_REPLACED) return this.#giveUp(target, lost);
    const { withinMs, ...question } = decide;
    const { waitedMs } = ticker;
    const ask: Ask = {
      ...question,
      waitedMs,
      // As of now: what is left of its deadline.
      ...(withinMs === undefined ? {} : { withinMs: withinMs - waitedMs }),
      failed: lost,
      ...here.view.takeAnswered(pool),
      ...(elsewhere ? { elsewhere } : {}),
    };
    const answer: DecideAnswer = await poolStub(here.env, pool).decide(ask);
    switch (answer.type) {
      case "stale_card":
        return answer;
      case "refused":
        return { type: "full", error: overloaded(answer.message, answer.retryAfterSeconds) };
      case "waiting":
        if (!elsewhere && ticker.waitedMs < MOST_WAIT_MS && !client.hasLeft) return { type: "again" };
        await this.#leave(target);
        return { type: "full", error: overloaded("All replicas are busy. Try again shortly.", 2) };
      case "replica": {
        const { replica, epoch, attempt } = answer;
        const { model } = this.#chosen;
        const tries = attempt - replaced;
        const tried = await place(this.#call, { pool, model, id: decide.id, answer, tries, accepted: this.#accepted });
        if (tried.type === "placed") return tried;
        if (client.hasLeft) {
          await poolStub(here.env, pool).release(decide.id, attempt);
          return gone();
        }
        this.#lost.push({ pool, replica, epoch, attempt, ...(tried.type === "replaced" ? { replaced: true } : {}) });
        return { type: "again" };
      }
    }
  }

  async #giveUp({ pool, decide }: PoolTarget, lost: readonly FailedAttempt[]): Promise<Step> {
    const last = lost.at(-1);
    if (last !== undefined && !this.#spent.has(pool)) {
      this.#spent.add(pool);
      await poolStub(this.#call.here.env, pool).release(decide.id, last.attempt, last.replaced !== true);
    }
    return { type: "full", error: overloaded("No replica could take the request. Try again shortly.", 1) };
  }

  /** The pool hashes prompts by another spec than its card said: pools are chosen by the new one, once. */
  async #chooseAnew(card: PoolCard): Promise<ApiError | null> {
    this.#call.here.view.keepCard(card, steadyNowMs());
    if (this.#isChosenAnew) return overloaded("The pool is changing its hash spec. Try again.", 1);
    this.#isChosenAnew = true;
    this.#chosen.prefilled(null);
    const chosen = await choosePools(this.#call);
    if ("code" in chosen) return chosen;
    this.#chosen = chosen;
    return null;
  }
}
