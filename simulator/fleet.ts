/** A fleet in virtual time: requests arrive, a router places them, simulated replicas compute them, and the router hears of all that happens, and the log keeps it. */
import { Arrivals } from "./arrivals.ts";
import type { SimulatedRouter, Placement, Question, Source } from "./simulated-router.ts";
import { type FleetOptions, type RequestInFlight, isPrefillKey, jobKey, leaseOf, prefillKey } from "./request-in-flight.ts";
import type { RunLog } from "./measures.ts";
import type { Plan, PlannedRequest } from "./plan.ts";
import type { Sequence } from "./sequence.ts";
import type { ReplicaMaker, SimulatedReplica } from "./simulated-replica.ts";
import type { Timeline } from "./timeline.ts";

/** A replica that is gone shows at once; the edge asks again after this. */
const RETRY_MS = 10;

export class Fleet {
  readonly #timeline: Timeline;
  readonly #plan: Plan;
  readonly #router: SimulatedRouter;
  readonly #log: RunLog;
  readonly #options: FleetOptions;
  readonly #make: ReplicaMaker;
  /** By number; a life that ended is replaced by the next. */
  readonly #replicas = new Map<number, SimulatedReplica>();
  readonly #inFlight = new Map<number, RequestInFlight>();
  readonly #arrivals: Arrivals;
  #left: number;

  constructor(timeline: Timeline, plan: Plan, router: SimulatedRouter, log: RunLog, options: FleetOptions, make: ReplicaMaker) {
    this.#timeline = timeline;
    this.#plan = plan;
    this.#router = router;
    this.#log = log;
    this.#options = options;
    this.#make = make;
    this.#left = plan.requests.length;
    this.#arrivals = new Arrivals(timeline, plan, options.sessionsAtOnce, (request) => this.#arrive(request));
  }

  /** Requests that have not ended. */
  get left(): number {
    return this.#left;
  }

  join(number: number): void {
    const epoch = (this.#replicas.get(number)?.epoch ?? 0) + 1;
    const replica: SimulatedReplica = this.#make(number, epoch, {
      started: (sequence) => this.#started(replica, sequence),
      firstToken: (sequence, nowMs) => this.#firstToken(replica, sequence, nowMs),
      finished: (sequence, nowMs) => this.#finished(replica, sequence, nowMs),
      stepped: () => this.#tellChanges(replica),
      gaps: (count, ms) => this.#log.gaps(count, ms),
    });
    this.#replicas.set(number, replica);
    this.#router.joined(replica);
  }

  /** What it holds and runs is lost; its requests are asked for again. */
  leave(number: number): void {
    const replica = this.#replicas.get(number);
    if (replica === undefined || !replica.alive) return;
    replica.alive = false;
    this.#router.left(replica);
    for (const inFlight of this.#inFlight.values()) {
      if (inFlight.at?.source === replica) inFlight.at.source = null;
      if (inFlight.at?.replica === replica) this.#retry(inFlight);
    }
  }

  /** All that has a time of its own will come. */
  begin(): void {
    this.#arrivals.begin();
  }

  #arrive(request: PlannedRequest): void {
    const { nowMs } = this.#timeline;
    const unplaced = { failed: [], at: null, transfer: null, hasFirstToken: false, cachedElsewhere: 0 };
    const inFlight: RequestInFlight = { request, arrivedAtMs: nowMs, rttMs: this.#options.rttMs, ...unplaced };
    this.#inFlight.set(request.id, inFlight);
    this.#log.arrived(request.id, nowMs);
    const { patienceMs } = this.#options;
    if (patienceMs !== null) this.#timeline.after(patienceMs, () => this.#giveUp(inFlight));
    this.#ask(inFlight);
  }

  #ask(inFlight: RequestInFlight): void {
    const { bookingMs, patienceMs, tpotMs } = this.#options;
    const half = bookingMs / 2;
    const { request, arrivedAtMs, failed } = inFlight;
    const deadlineMs = patienceMs === null ? null : arrivedAtMs + patienceMs;
    const question: Question = { request, arrivedAtMs, failed: [...failed], deadlineMs, tpotMs };
    this.#later(half, () => {
      if (!this.#isGoing(inFlight)) return;
      this.#router.ask(question, (placement) => {
        inFlight.rttMs = (placement.kind === "placed" ? placement.rttMs : undefined) ?? this.#options.rttMs;
        this.#later(half + inFlight.rttMs / 2, () => this.#placed(inFlight, placement));
      });
    });
  }

  #later(ms: number, happen: () => void): void {
    if (ms === 0) happen();
    else this.#timeline.after(ms, happen);
  }

  #isGoing(inFlight: RequestInFlight): boolean {
    return this.#inFlight.get(inFlight.request.id) === inFlight;
  }

  #placed(inFlight: RequestInFlight, placement: Placement): void {
    const { request } = inFlight;
    if (!this.#isGoing(inFlight)) {
      // Its client left while the answer was on its way.
      if (placement.kind === "placed") this.#router.giveUp(request, placement.attempt);
      return;
    }
    if (placement.kind === "refused") return this.#refuse(inFlight);
    const { attempt, source, loads } = placement;
    const replica = this.#replicas.get(placement.replica);
    if (replica === undefined) throw new RangeError(`${this.#router.name} chose replica ${placement.replica}, which never was`);
    inFlight.at = { replica, attempt, source: null, loads };
    if (!replica.alive) return this.#retry(inFlight);
    if (source === null) return this.#submit(inFlight, 0);
    this.#fetch(inFlight, inFlight.at, source);
  }

  #fetch(inFlight: RequestInFlight, at: NonNullable<RequestInFlight["at"]>, { kind, replica: number }: Source): void {
    const sender = this.#replicas.get(number);
    const none = { kind, replica: sender?.name ?? "", bytes: 0, ms: 0, tokens: 0 };
    if (sender === undefined || !sender.alive) {
      inFlight.transfer = { ...none, outcome: "fallback", why: "it is gone" };
      return this.#submit(inFlight, 0);
    }
    at.source = sender;
    if (kind === "pull") return this.#pull(inFlight, at, sender);
    const { request } = inFlight;
    const key = prefillKey(request, at.attempt);
    const taken = sender.engine.submit({ key, request, outputTokens: 1, externalTokens: 0, loads: true }, this.#timeline.nowMs);
    this.#schedule(sender);
    if (taken) return;
    inFlight.transfer = { ...none, outcome: "fallback", why: "it does not fit there" };
    this.#submit(inFlight, 0);
  }

  /** What the sender holds of the prompt and the receiver does not is sent. */
  #pull(inFlight: RequestInFlight, at: NonNullable<RequestInFlight["at"]>, sender: SimulatedReplica): void {
    const { path, promptSegments, promptTokens } = inFlight.request;
    const held = sender.engine.cache.onHost(path, 0, promptSegments);
    const had = at.replica.engine.cache.onHost(path, 0, promptSegments);
    const { ends } = this.#plan.tree;
    const endOf = (segments: number): number => (segments === 0 ? 0 : (ends[path[segments - 1] ?? 0] ?? 0));
    const { blockTokens } = at.replica.constants;
    const reach = Math.floor(Math.min(endOf(held), promptTokens - 1) / blockTokens) * blockTokens;
    const tokens = Math.max(0, reach - endOf(had));
    this.#send(inFlight, at, sender, { kind: "pull", tokens, externalTokens: tokens > 0 ? reach : 0 });
  }

  #send(
    inFlight: RequestInFlight,
    at: NonNullable<RequestInFlight["at"]>,
    sender: SimulatedReplica,
    what: { kind: Source["kind"]; tokens: number; externalTokens: number },
  ): void {
    const { kind, tokens, externalTokens } = what;
    const { nowMs } = this.#timeline;
    const arrivesAtMs = sender.send(tokens, nowMs);
    this.#timeline.at(arrivesAtMs, () => {
      if (!this.#isGoing(inFlight) || inFlight.at !== at) return;
      const used = tokens > 0 && at.source !== null;
      inFlight.transfer = {
        kind,
        replica: sender.name,
        outcome: used ? "used" : "fallback",
        bytes: 0,
        ms: arrivesAtMs - nowMs,
        tokens: used ? tokens : 0,
      };
      this.#submit(inFlight, used ? externalTokens : 0);
    });
  }

  #submit(inFlight: RequestInFlight, externalTokens: number): void {
    const { request, at } = inFlight;
    if (at === null) return;
    const { outputTokens } = request;
    const { replica, attempt, loads } = at;
    const key = jobKey(request, attempt);
    const taken = replica.engine.submit({ key, request, outputTokens, externalTokens, loads }, this.#timeline.nowMs);
    this.#schedule(replica);
    if (taken) return;
    this.#router.giveUp(request, attempt);
    this.#refuse(inFlight);
  }

  #retry(inFlight: RequestInFlight): void {
    const { at, request } = inFlight;
    if (at === null) return;
    inFlight.failed.push({ replica: at.replica.number, attempt: at.attempt });
    if (at.source !== null) this.#cancel(at.source, prefillKey(request, at.attempt));
    inFlight.at = null;
    inFlight.transfer = null;
    this.#log.retried(request.id, this.#timeline.nowMs, inFlight.hasFirstToken);
    inFlight.hasFirstToken = false;
    this.#timeline.after(RETRY_MS, () => {
      if (this.#isGoing(inFlight)) this.#ask(inFlight);
    });
  }

  #refuse(inFlight: RequestInFlight): void {
    this.#log.refused(inFlight.request.id, this.#timeline.nowMs);
    this.#ended(inFlight);
  }

  #giveUp(inFlight: RequestInFlight): void {
    if (!this.#isGoing(inFlight) || inFlight.hasFirstToken) return;
    const { request, at } = inFlight;
    this.#router.giveUp(request, at?.attempt ?? null);
    if (at !== null) {
      this.#cancel(at.replica, jobKey(request, at.attempt));
      if (at.source !== null) this.#cancel(at.source, prefillKey(request, at.attempt));
    }
    this.#log.cancelled(request.id, this.#timeline.nowMs);
    this.#ended(inFlight);
  }

  #cancel(replica: SimulatedReplica, key: string): void {
    replica.engine.cancel(key, this.#timeline.nowMs);
    this.#schedule(replica);
  }

  /** Wakes the engine when its next change is due. */
  #schedule(replica: SimulatedReplica): void {
    const { nextMs } = replica.engine;
    if (nextMs === Infinity) return this.#tellChanges(replica);
    if (nextMs === replica.wakesAtMs) return;
    replica.wakesAtMs = nextMs;
    this.#timeline.at(nextMs, () => {
      // A later word moved its waking.
      if (!replica.alive || replica.wakesAtMs !== nextMs) return;
      replica.wakesAtMs = Infinity;
      replica.engine.advance(this.#timeline.nowMs);
      this.#schedule(replica);
    });
  }

  /** A replica says what it holds before it says how its requests went. */
  #tellChanges(replica: SimulatedReplica): void {
    const changes = replica.engine.cache.takeChanges();
    if (changes.length > 0 && replica.alive) this.#router.changed(replica, changes);
  }

  #started(replica: SimulatedReplica, { job }: Sequence): void {
    this.#router.lease(replica, { event: "started", ...leaseOf(job.key) });
  }

  #firstToken(replica: SimulatedReplica, sequence: Sequence, nowMs: number): void {
    const { job, cachedTokens, loadedTokens, loadMs, startedAtMs } = sequence;
    const inFlight = this.#inFlight.get(job.request.id);
    if (inFlight === undefined) return;
    this.#tellChanges(replica);
    const isPrefill = isPrefillKey(job.key);
    const transfer = isPrefill ? null : inFlight.transfer;
    const prefillMs = nowMs - (startedAtMs ?? nowMs) + (transfer?.ms ?? 0);
    const loads = loadedTokens > 0 ? { loadedTokens, loadMs } : {};
    const report = { promptTokens: job.request.promptTokens, cachedTokens, prefillMs, ...loads };
    this.#router.lease(replica, { event: "decoding", ...leaseOf(job.key), ...report, ...(transfer === null ? {} : { transfer }) });
    if (isPrefill) return;
    inFlight.hasFirstToken = true;
    const computedElsewhere = transfer?.kind === "prefill" && transfer.outcome === "used";
    this.#log.firstToken(job.request.id, nowMs + inFlight.rttMs / 2, computedElsewhere ? inFlight.cachedElsewhere : cachedTokens);
  }

  #finished(replica: SimulatedReplica, sequence: Sequence, nowMs: number): void {
    const { job, cachedTokens, outputTokens, firstTokenAtMs } = sequence;
    const inFlight = this.#inFlight.get(job.request.id);
    this.#tellChanges(replica);
    const { promptTokens } = job.request;
    const isPrefill = isPrefillKey(job.key);
    const report = { promptTokens, cachedTokens, outputTokens: isPrefill ? 0 : outputTokens, decodeMs: nowMs - (firstTokenAtMs ?? nowMs) };
    this.#router.lease(replica, { event: "settled", ...leaseOf(job.key), ...report });
    if (inFlight === undefined || inFlight.at === null) return;
    if (!isPrefill) {
      this.#log.finished(job.request.id, nowMs + inFlight.rttMs / 2);
      return this.#ended(inFlight);
    }
    inFlight.cachedElsewhere = cachedTokens;
    const { path } = inFlight.request;
    const had = inFlight.at.replica.engine.cache.onDevice(path, inFlight.request.promptSegments);
    const hadTokens = had === 0 ? 0 : (this.#plan.tree.ends[path[had - 1] ?? 0] ?? 0);
    const tokens = Math.max(1, promptTokens - hadTokens);
    this.#send(inFlight, inFlight.at, replica, { kind: "prefill", tokens, externalTokens: promptTokens });
  }

  #ended({ request }: RequestInFlight): void {
    this.#inFlight.delete(request.id);
    this.#left--;
    this.#arrivals.ended(request.id);
  }
}
