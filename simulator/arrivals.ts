import type { Plan, PlannedRequest } from "./plan.ts";
import type { Timeline } from "./timeline.ts";

/** When requests come: at their time, or when what they follow has ended. */
export class Arrivals {
  readonly #timeline: Timeline;
  readonly #plan: Plan;
  readonly #sessionsAtOnce: number | null;
  readonly #arrive: (request: PlannedRequest) => void;
  /** What follows a request, by its id; and of how many each still waits. */
  readonly #followers = new Map<number, number[]>();
  readonly #awaited: Int32Array;
  /** First requests that have not come, the last one first. */
  #roots: PlannedRequest[] = [];

  /** `sessionsAtOnce`: so many first requests at the start, the next whenever one that nothing follows has ended; null: when their time comes. */
  constructor(timeline: Timeline, plan: Plan, sessionsAtOnce: number | null, arrive: (request: PlannedRequest) => void) {
    this.#timeline = timeline;
    this.#plan = plan;
    this.#sessionsAtOnce = sessionsAtOnce;
    this.#arrive = arrive;
    this.#awaited = Int32Array.from(plan.requests, ({ after }) => after.length);
    for (const { id, after } of plan.requests) {
      for (const before of after) {
        const others = this.#followers.get(before);
        if (others === undefined) this.#followers.set(before, [id]);
        else others.push(id);
      }
    }
  }

  begin(): void {
    const roots = this.#plan.requests.filter(({ at }) => at !== null);
    if (this.#sessionsAtOnce === null) {
      for (const request of roots) this.#timeline.at(request.at ?? 0, () => this.#arrive(request));
      return;
    }
    this.#roots = roots.toReversed();
    for (let count = 0; count < this.#sessionsAtOnce; count++) this.#nextRoot();
  }

  ended(id: number): void {
    const followers = this.#followers.get(id) ?? [];
    for (const follower of followers) {
      const left = (this.#awaited[follower] ?? 1) - 1;
      this.#awaited[follower] = left;
      const next = this.#plan.requests[follower];
      if (left === 0 && next !== undefined) this.#timeline.after(next.gapMs, () => this.#arrive(next));
    }
    if (followers.length === 0 && this.#sessionsAtOnce !== null) this.#nextRoot();
  }

  #nextRoot(): void {
    const request = this.#roots.pop();
    if (request !== undefined) this.#timeline.after(0, () => this.#arrive(request));
  }
}
