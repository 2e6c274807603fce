/** Logs each change of a replica's membership in its pool: joined, lost, refused, and why it cannot join. */
import { ChangeLines, type Clock } from "./change-lines.ts";
import type { ReplicaConfig } from "./config.ts";
import { edgeProblem } from "./edge-probe.ts";
import { type MembershipChange, logLine } from "./operator-log.ts";

/** An edge that starts, or starts again, is away for at most this long. */
const GRACE_MS = 2_500;
/** While the socket does not open, the edge is asked why at most this often. */
const ASK_MS = 5_000;

const CLOCK: Clock = {
  nowMs: () => performance.now(),
  later: (ms, run) => void setTimeout(run, ms).unref(),
};

type Place = Pick<ReplicaConfig, "join" | "joinToken" | "name" | "pool">;

export class MembershipLog {
  readonly #place: Place;
  readonly #url: string;
  readonly #edge: string;
  readonly #lines: ChangeLines<MembershipChange | null>;
  readonly #ask: () => Promise<string | null>;
  readonly #clock: Clock;
  #failingSinceMs: number | null = null;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #isAsking = false;

  /** `url`: where the edge reaches this replica. `ask`: why the edge does not let it in; null: it would. */
  constructor(
    place: Place,
    url: string,
    say: (line: string, what: MembershipChange | null) => void = logLine,
    clock = CLOCK,
    ask = () => edgeProblem({ ...place, token: place.joinToken }),
  ) {
    this.#place = place;
    this.#url = url;
    this.#edge = new URL(place.join).host;
    this.#lines = new ChangeLines(say, clock);
    this.#clock = clock;
    this.#ask = ask;
  }

  joined(): void {
    const { name, pool } = this.#place;
    this.#lines.now(`${name} has joined pool ${pool} at ${this.#edge}, which reaches it at ${this.#url}.`, "joined");
  }

  refused(message: string): void {
    this.#lines.now(`${this.#place.name} was refused by its pool: ${message}`, null);
  }

  unreached(message: string): void {
    this.#lines.now(`${this.#place.name} has no way back: ${message}`, null);
  }

  leftOut(message: string): void {
    this.#lines.now(`${this.#place.name} is left out by its pool: ${message}`, null);
  }

  socket(event: "open" | "lost" | "failed"): void {
    const { name } = this.#place;
    if (event === "lost") this.#lines.now(`${name} lost the edge at ${this.#edge}. It tries to join again.`, "lost");
    if (event === "open") this.#failingSinceMs = null;
    if (event === "failed") void this.#failed();
  }

  /** The socket itself does not say why it did not open. */
  async #failed(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    this.#failingSinceMs ??= nowMs;
    if (this.#isAsking || nowMs - this.#failingSinceMs < GRACE_MS || nowMs - this.#askedAtMs < ASK_MS) return;
    this.#isAsking = true;
    this.#askedAtMs = nowMs;
    const problem = await this.#ask();
    this.#isAsking = false;
    if (problem !== null && this.#failingSinceMs !== null) this.#lines.now(`${this.#place.name} can't join: ${problem}`, "unjoined");
  }
}
