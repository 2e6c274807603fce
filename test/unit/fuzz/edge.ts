/** Edges: they ask the pool, hold their calls, forward to the replica that they are given, try again elsewhere, and give up when their clients do. */
import { type AnsweredBy, onPoolClock } from "../../../src/router/question.ts";
import type { DecideAnswer, DecideRequest, ReplicaAnswer } from "../../../src/router/dispatcher.ts";
import { type Ask, BYTES_PER_TOKEN } from "./history.ts";
import type { Job } from "./jobs.ts";
import { type Prompt, promptOf } from "./prompts.ts";
import type { Replica } from "./replica.ts";
import type { World } from "./world.ts";

/** As workers/objects/pool-object.ts holds a call. */
const HOLD_MS = 5_000;
const FORWARD_MS = 3;
const BREAK_SEEN_MS = 20;
const MOST_TRIES = 3;
/** Nobody waits longer for a first token. */
const MOST_WAIT_MS = 90_000;
const LOST_ANSWER_MS = 1_000;

export interface Failure {
  replica: Replica;
  attempt: number;
  epoch: number;
  /** True time at which the pool heard of it. */
  atMs: number;
}

/** What it asks at each of its calls; its deadline is from its coming, ms. */
type Question = Omit<DecideRequest, "arrivedAtMs">;

export interface Request {
  id: string;
  number: number;
  ask: Ask;
  prompt: Prompt;
  question: Question;
  /** True time. */
  cameAtMs: number;
  state: "waiting" | "placed" | "ended";
  /** True time since which the pool has it; it waits since then. */
  waitsSinceMs: number;
  failures: Failure[];
  attempt: number;
  /** While it is placed. */
  on: Replica | null;
  tries: number;
  /** Distinguishes its calls. */
  call: number;
  hasFirstToken: boolean;
}

/** What edges said of a replica's life. */
export interface Failures {
  epoch: number;
  count: number;
  /** True time of the last. */
  atMs: number;
}

export class Edge {
  readonly #world: World;
  readonly #open = new Map<number, Request>();
  readonly #failures = new Map<Replica, Failures>();
  /** Goes with the next question. */
  #ended: AnsweredBy[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get open(): ReadonlyMap<number, Request> {
    return this.#open;
  }

  *waiting(): Iterable<Request> {
    for (const request of this.#open.values()) if (request.state === "waiting") yield request;
  }

  ask(ask: Ask, number: number, prompt = promptOf(ask.conversation, number, ask.sharedTokens ?? ask.tokens, ask.tokens)): void {
    if (this.#open.has(number)) return;
    const { nowMs } = this.#world;
    const { bytesPerToken = BYTES_PER_TOKEN, deadlineMs, priority, tpotMs, counts, tenant = 0, failed } = ask;
    const promptBytes = Math.ceil(prompt.tokens * bytesPerToken);
    const question: Question = {
      id: `q${number}`,
      tenant: `t${tenant}`,
      salt: `t${tenant}`,
      fingerprint: "spec",
      chain: prompt.chain,
      promptBytes,
      path: "/v1/chat/completions",
      bodyBytes: promptBytes,
      digest: "",
      priority,
      tpotMs,
      deadlineMs,
      session: `c${ask.conversation}`,
      ...(counts === true ? { counts } : {}),
    };
    const more = {
      state: "waiting",
      cameAtMs: nowMs,
      waitsSinceMs: nowMs,
      attempt: 0,
      on: null,
      tries: 0,
      call: 0,
      hasFirstToken: false,
    } as const;
    const request: Request = { id: question.id, number, ask, prompt, question, ...more, failures: [] };
    this.#open.set(number, request);
    const before = failed === undefined ? undefined : this.#world.replicas[failed];
    if (before !== undefined) this.#note(request, before, 1);
    this.#world.timeline.after(ask.patienceMs ?? MOST_WAIT_MS, () => {
      if (request.state !== "ended" && !request.hasFirstToken) this.leave(number);
    });
    this.#call(request);
  }

  /** Of its last life that failed a request. */
  failuresOf(replica: Replica): Failures | undefined {
    return this.#failures.get(replica);
  }

  #note(request: Request, replica: Replica, attempt: number): void {
    const before = this.#failures.get(replica);
    const count = before?.epoch === replica.epoch ? before.count + 1 : 1;
    this.#failures.set(replica, { epoch: replica.epoch, count, atMs: this.#world.nowMs });
    request.failures.push({ replica, attempt, epoch: replica.epoch, atMs: this.#world.nowMs });
    request.question.failed = request.failures.map((failure) => ({
      replica: failure.replica.name,
      attempt: failure.attempt,
      epoch: failure.epoch,
    }));
  }

  #call(request: Request): void {
    const world = this.#world;
    const call = ++request.call;
    let answered = false;
    let lineBefore = world.pool.state.line.length;
    const take = (answer: DecideAnswer): void => {
      if (answered) return;
      answered = true;
      // Whoever left, or lost this call, hears nothing.
      if (request.call !== call || request.state !== "waiting") return;
      world.tell("answered", request, answer, lineBefore);
      this.#take(request, answer);
    };
    world.tell("asking", request);
    lineBefore = world.pool.state.line.length;
    const { state } = world.pool;
    const said = world.pool.decide(this.#asked(request), take);
    if (said !== null) return take(said);
    if (answered) return;
    world.tell("answered", request, null, lineBefore);
    world.timeline.after(HOLD_MS, () => {
      if (answered || request.call !== call || request.state !== "waiting" || world.pool.state !== state) return;
      world.pool.waitedEnough(request.id, take);
      this.#call(request);
    });
  }

  /** In durations, as an edge asks. */
  #asked({ question: { deadlineMs, ...question }, cameAtMs }: Request): DecideRequest {
    const { pool, nowMs } = this.#world;
    const waitedMs = nowMs - cameAtMs;
    const withinMs = deadlineMs === undefined ? undefined : deadlineMs - waitedMs;
    const answered = this.#ended.splice(0);
    return onPoolClock({ ...question, ...(answered.length > 0 ? { answered } : {}), waitedMs, withinMs }, pool.nowMs());
  }

  /** Calls that the pool held when it lost its memory are made again. */
  poolForgot(): void {
    for (const request of this.waiting()) {
      const call = ++request.call;
      this.#world.timeline.after(100, () => {
        if (request.call === call && request.state === "waiting") this.#call(request);
      });
    }
  }

  #take(request: Request, answer: DecideAnswer): void {
    if (answer.type !== "replica") return this.#end(request);
    request.state = "placed";
    request.attempt = answer.attempt;
    request.tries++;
    const { ask } = request;
    const replica = this.#world.named(answer.replica);
    request.on = replica ?? null;
    if (replica !== undefined) this.#world.tell("placed", request, replica, answer);
    if (ask.losesAnswer === true && request.tries === 1) {
      this.#world.timeline.after(LOST_ANSWER_MS, () => {
        if (request.state === "placed") this.#again(request);
      });
      return;
    }
    const epoch = replica?.epoch;
    this.#world.timeline.after(FORWARD_MS, () => this.#forward(request, replica, answer, epoch));
  }

  /** `epoch`: whose admission it is; another life of the replica takes it not. */
  #forward(request: Request, replica: Replica | undefined, answer: ReplicaAnswer, epoch: number | undefined): void {
    const { attempt } = answer;
    const current = (): boolean => request.state === "placed" && request.attempt === attempt;
    if (!current()) return;
    if (replica === undefined) return this.#end(request);
    const broken = (): void => {
      this.#world.timeline.after(BREAK_SEEN_MS, () => {
        if (current()) this.#failed(request, replica);
      });
    };
    if (request.ask.counts === true) {
      this.#world.pool.release({ id: request.id, attempt });
      return this.#end(request);
    }
    const job: Job = {
      id: request.id,
      attempt,
      ask: request.ask,
      number: request.number,
      prompt: request.prompt,
      answer,
      takenAtMs: this.#world.nowMs,
      state: "queued",
      cachedTokens: 0,
      firstTokenAtMs: 0,
      stepMs: 1,
      broken,
      firstToken: () => {
        if (current()) request.hasFirstToken = true;
      },
      ended: () => {
        if (!current()) return;
        if (epoch !== undefined) this.#ended.push({ replica: replica.name, epoch });
        this.#end(request);
      },
    };
    if (replica.epoch !== epoch) return broken();
    if (replica.jobs.take(job)) return;
    replica.report({ event: "refused", id: request.id, attempt });
    broken();
  }

  #failed(request: Request, replica: Replica): void {
    if (request.hasFirstToken || request.tries >= MOST_TRIES) {
      this.#world.pool.release({ id: request.id, attempt: request.attempt });
      return this.#end(request);
    }
    this.#note(request, replica, request.attempt);
    this.#again(request);
  }

  #again(request: Request): void {
    request.state = "waiting";
    request.on = null;
    request.waitsSinceMs = this.#world.nowMs;
    this.#call(request);
  }

  leave(number: number): void {
    const request = this.#open.get(number);
    if (request === undefined) return;
    const { id, attempt, state } = request;
    this.#end(request);
    if (state === "waiting") this.#world.pool.leave(id);
    else this.#world.pool.release({ id, attempt });
    for (const replica of this.#world.replicas) {
      replica.jobs.cancel({ id, attempt });
      replica.jobs.cancel({ id: `${id}~prefill`, attempt });
    }
  }

  #end(request: Request): void {
    request.state = "ended";
    this.#open.delete(request.number);
  }
}
