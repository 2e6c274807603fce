/** What is done to the edge and its replicas while requests go on: each at its share of the requests, one after another. */
import { setTimeout as sleep } from "node:timers/promises";
import type { SoakEdge } from "./edge-process.ts";
import type { MockFleet } from "./fleet.ts";
import type { Relay } from "./relay.ts";
import { mockName } from "./truth.ts";

type What =
  /** Segments found on the disks of two: together more than the pool's index has places for. */
  | { kind: "archive"; replicas: readonly number[] }
  | { kind: "edge killed" }
  /** Back at once. */
  | { kind: "killed"; replica: number }
  /** Stays away until it is `back`. */
  | { kind: "gone"; replica: number }
  | { kind: "back"; replica: number }
  | { kind: "engine restarted"; replica: number }
  /** All announce sockets, three times. */
  | { kind: "sockets cut" };

const PLAN: readonly (What & { at: number })[] = [
  { at: 0.03, kind: "archive", replicas: [1, 3] },
  { at: 0.06, kind: "edge killed" },
  { at: 0.1, kind: "killed", replica: 1 },
  { at: 0.13, kind: "sockets cut" },
  { at: 0.16, kind: "engine restarted", replica: 0 },
  { at: 0.18, kind: "gone", replica: 3 },
  { at: 0.21, kind: "back", replica: 3 },
  // The last death of the edge: what follows is one life of it, long enough to see what grows.
  { at: 0.24, kind: "edge killed" },
  { at: 0.27, kind: "archive", replicas: [1, 3] },
  { at: 0.4, kind: "killed", replica: 2 },
  { at: 0.43, kind: "sockets cut" },
  { at: 0.46, kind: "killed", replica: 1 },
  { at: 0.5, kind: "engine restarted", replica: 3 },
  { at: 0.53, kind: "archive", replicas: [0, 1] },
  { at: 0.55, kind: "gone", replica: 0 },
  { at: 0.58, kind: "back", replica: 0 },
  { at: 0.66, kind: "sockets cut" },
  { at: 0.7, kind: "archive", replicas: [0, 3] },
  { at: 0.74, kind: "killed", replica: 1 },
  { at: 0.78, kind: "engine restarted", replica: 2 },
  { at: 0.81, kind: "gone", replica: 3 },
  { at: 0.84, kind: "back", replica: 3 },
  { at: 0.88, kind: "sockets cut" },
  { at: 0.91, kind: "engine restarted", replica: 1 },
  { at: 0.93, kind: "archive", replicas: [1, 3] },
];
/** The pool has room for at most 2.1 million. */
export const ARCHIVED_SEGMENTS = 1_100_000;
/** A pool forgets a replica 3 s after its socket closed; what ran there is answered or lost by then. */
const QUIET_AFTER_MS = 10_000;
const CUTS = 3;
const CUT_EVERY_MS = 400;

export interface Happened {
  request: number;
  seconds: number;
  what: string;
}

export interface Stormy {
  edge: SoakEdge;
  fleet: MockFleet;
  relay: Relay;
  /** A replica that was away joins again: called before it starts; the function that it gives is called when it has joined. */
  watchReturn(replica: number): () => Promise<void>;
}

export class Storm {
  readonly happened: Happened[] = [];
  readonly #stormy: Stormy;
  readonly #requests: number;
  readonly #startedMs = performance.now();
  #next = 0;
  #going: Promise<void> = Promise.resolve();
  #lastMs = -Infinity;
  #acts = false;
  /** When each began and ended, ms since 1970. */
  readonly #doneAtMs: number[] = [];

  constructor(stormy: Stormy, requests: number) {
    this.#stormy = stormy;
    this.#requests = requests;
  }

  get isQuiet(): boolean {
    return !this.#acts && performance.now() - this.#lastMs > QUIET_AFTER_MS;
  }

  /** When something was done last, ms since 1970. */
  get disturbedAtMs(): number {
    return performance.timeOrigin + this.#lastMs;
  }

  /** The same before a time, ms since 1970; the soak's start when nothing was done yet. */
  disturbedBeforeMs(atMs: number): number {
    const before = this.#doneAtMs.filter((doneMs) => doneMs <= atMs);
    return before.at(-1) ?? performance.timeOrigin + this.#startedMs;
  }

  /** So many were sent. Does not wait for what that sets off. */
  reached(sent: number): void {
    for (let event = PLAN[this.#next]; event !== undefined && sent >= event.at * this.#requests; event = PLAN[++this.#next]) {
      const due = event;
      this.#going = this.#going.then(() => this.#carryOut(due, sent));
    }
  }

  /** When all that was set off is done. */
  async over(): Promise<void> {
    await this.#going;
  }

  async #carryOut(event: What, request: number): Promise<void> {
    this.#lastMs = performance.now();
    this.#doneAtMs.push(this.disturbedAtMs);
    this.#acts = true;
    const names = "replicas" in event ? event.replicas.map(mockName).join(", ") : "replica" in event ? mockName(event.replica) : "";
    const what = `${event.kind} ${names}`.trim();
    const seconds = Math.round((this.#lastMs - this.#startedMs) / 1_000);
    this.happened.push({ request, seconds, what });
    console.log(`  ${request} requests, ${seconds} s: ${what}`);
    await this.#do(event);
    this.#acts = false;
    this.#lastMs = performance.now();
    this.#doneAtMs.push(this.disturbedAtMs);
  }

  async #do(event: What): Promise<void> {
    const { edge, fleet, relay } = this.#stormy;
    switch (event.kind) {
      case "archive":
        await Promise.all(event.replicas.map((replica) => fleet.archive(replica, ARCHIVED_SEGMENTS)));
        return;
      case "edge killed":
        return edge.killAndRestart();
      case "killed":
        fleet.kill(event.replica);
        return fleet.start(event.replica);
      case "gone":
        return fleet.kill(event.replica);
      case "back": {
        const joined = this.#stormy.watchReturn(event.replica);
        await fleet.start(event.replica);
        return joined();
      }
      case "engine restarted":
        return fleet.restartEngine(event.replica);
      case "sockets cut":
        for (let cut = 0; cut < CUTS; cut++) {
          relay.cut();
          await sleep(CUT_EVERY_MS);
        }
    }
  }
}
