/** What replicas say, turned into what the pool knows. Answers with what has to be said back. */
import type { SegmentHash } from "../prefix/chain.ts";
import {
  applyMembership,
  type MembershipEffect,
  type MembershipEvent,
  isReady,
  type MembershipState,
  restoreMembership,
} from "../pool/membership.ts";
import type {
  DecodingReport,
  Heartbeat,
  LeaseReport,
  ResidencyFrame,
  RunningRequest,
  SettledReport,
  TransferReport,
} from "../pool/frames.ts";
import { MOST_CONTEXT_TOKENS } from "../pool/capacity.ts";
import { type WayOutcome, WaysBack, type WayTry } from "../pool/way-back.ts";
import { isPrefillLease, type Lease, type LeaseKey, prefillLease } from "../pool/lease.ts";
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { adopt } from "./adoption.ts";
import { DecodeWatch } from "../rates/decode-watch.ts";
import { believed, believedOutput } from "./lease-report.ts";
import type { PoolState } from "./state.ts";
import { type ResyncNeed, Resyncs } from "./sync.ts";

export class AnnounceIntake {
  readonly #state: PoolState;
  readonly #decodes = new DecodeWatch();
  readonly #resyncs: Resyncs;
  readonly #ways = new WaysBack();

  constructor(state: PoolState) {
    this.#state = state;
    this.#resyncs = new Resyncs(state.events, state.index);
  }

  /** Applies the event and whatever follows from it inside the pool; the effects left are for the shell's sockets. */
  membership(event: MembershipEvent, nowMs: number): MembershipEffect[] {
    const step = applyMembership(this.#state.membership, event, nowMs);
    this.#state.membership = step.state;
    for (const effect of step.effects) this.#follow(effect, nowMs);
    return step.effects;
  }

  /** What a replica that said hello has to send, if anything. `seq`: of its last frame. */
  needAfterHello(slot: number, seq: number, nowMs: number): ResyncNeed {
    const sync = this.#resyncs.of(slot);
    sync.filling = null;
    if (sync.seq === seq) return null;
    return this.#resyncs.askNow(slot, sync.seq > seq || sync.seq === 0 ? null : sync.seq, nowMs);
  }

  /** A replica is back with what it runs; what it has to cancel of that. */
  reconcile(slot: number, running: readonly LeaseKey[], nowMs: number): LeaseKey[] {
    return adopt(this.#state, slot, running, nowMs);
  }

  /** Members and sequence numbers as a checkpoint left them; what the index has of others is forgotten. */
  restore(saved: MembershipState, indexFits: boolean, nowMs: number): void {
    this.#state.membership = restoreMembership(saved, nowMs);
    if (!indexFits) return;
    const known = new Map(saved.replicas.map(({ slot, seq }) => [slot, seq]));
    for (let slot = 0; slot < MAX_REPLICAS; slot++) {
      const seq = known.get(slot);
      if (seq !== undefined) this.#resyncs.restored(slot, seq);
      else if (this.#state.index.count(slot) > 0) this.#state.index.forgetReplica(slot);
    }
  }

  seqOf(slot: number): number {
    return this.#resyncs.of(slot).seq;
  }

  residency(slot: number, update: ResidencyFrame, nowMs: number): ResyncNeed {
    const sync = this.#resyncs.of(slot);
    const { index, seen } = this.#state;
    if (update.kind === "full") {
      if (update.first) {
        index.forgetReplica(slot);
        // Half a resync is worth nothing, also in a checkpoint.
        Object.assign(sync, { seq: 0, filling: update.seq });
      }
      if (sync.filling !== update.seq) return this.#resyncs.ask(slot, null, nowMs);
      // As long as it goes on, nobody needs to ask again.
      if (!update.last) sync.askedAtMs = nowMs;
    } else {
      if (update.seq <= sync.seq) return null;
      if (sync.filling !== null) return this.#resyncs.ask(slot, null, nowMs);
      if (update.seq !== sync.seq + 1) return this.#resyncs.ask(slot, sync.seq, nowMs);
    }
    for (const { hash, tierBits, tokens } of update.entries) {
      index.set(hash, slot, tierBits, Math.min(tokens, MOST_CONTEXT_TOKENS));
      if (tierBits === 0) seen.givenUp(hash);
    }
    const [held, givenUp] = [[], []] as [SegmentHash[], SegmentHash[]];
    for (const { hash, tierBits } of update.entries) (tierBits === 0 ? givenUp : held).push(hash);
    this.#state.paths.announced(slot, held, givenUp);
    if (update.kind === "full" && update.last) sync.evicted = index.evicted;
    if (update.kind === "delta" || update.last) {
      sync.seq = update.seq;
      sync.filling = null;
    }
    return null;
  }

  /** `seq` and `entries`: as the replica counts them. A lost last frame shows here, and so does an index that differs. */
  heartbeat(slot: number, epoch: number, said: Heartbeat, nowMs: number): { effects: MembershipEffect[]; need: ResyncNeed } {
    const { leases, events, rates } = this.#state;
    const effects = this.membership({ kind: "heard", slot, epoch, seq: this.seqOf(slot) }, nowMs);
    const replica = this.#state.replica(slot);
    // Only who has been welcomed sends heartbeats: it has the key of its epoch.
    if (replica?.epoch === epoch) this.#ways.heard(replica);
    const running = this.#running(slot, said.running);
    for (const { id, attempt } of leases.heartbeat(slot, running, nowMs))
      events.emit({ kind: "expired", key: { id, attempt }, cause: "unnamed" });
    leases.usedKv(slot, said.load.usedKvTokens);
    this.#state.fills.set(slot, epoch, said.load.tiers ?? []);
    this.#state.claims.set(slot, epoch, said.load.residency ?? null);
    const decoded = this.#decodes.heard(slot, running, leases.reading(slot, nowMs));
    if (decoded !== null) rates.reportDecode(slot, decoded);
    const sync = this.#resyncs.of(slot);
    sync.reported = said.entries;
    const ready = this.#state.membership.replicas.filter(isReady).map((replica) => replica.slot);
    let need: ResyncNeed = null;
    if (sync.filling !== null || sync.seq > said.seq) need = this.#resyncs.ask(slot, null, nowMs);
    else if (sync.seq !== said.seq) need = this.#resyncs.ask(slot, sync.seq === 0 ? null : sync.seq, nowMs);
    else if (this.#resyncs.isMiscounted(slot, ready, nowMs)) need = this.#resyncs.ask(slot, null, nowMs);
    return { effects, need };
  }

  /** Whose way back is to be tried now. */
  waysDue(nowMs: number): WayTry[] {
    return this.#ways.due(this.#state.membership.replicas, nowMs);
  }

  wayTried(made: WayTry, outcome: WayOutcome, nowMs: number): MembershipEffect[] {
    const event = this.#ways.tried(made, outcome, this.#state.replica(made.slot), nowMs);
    return event === null ? [] : this.membership(event, nowMs);
  }

  /** Of the replica's own leases; what it says of others changes nothing. */
  lease(slot: number, said: LeaseReport, nowMs: number): void {
    const { leases, events } = this.#state;
    const key: LeaseKey = { id: said.id, attempt: said.attempt };
    const lease = leases.get(key);
    if (lease?.replica !== slot) {
      events.emit({ kind: "strayReport", slot, key });
      return;
    }
    const { step, cut } = believed(said, this.#state.replica(slot)?.capacity.contextTokens);
    if (cut) events.emit({ kind: "cutReport", slot, key });
    switch (step.event) {
      case "started":
        leases.started(key, nowMs);
        return;
      case "refused":
        if (leases.release(key, nowMs).kind === "ended") events.emit({ kind: "released", key, by: "replica" });
        return;
      case "decoding":
        if (lease.firstTokenReported) return;
        lease.firstTokenReported = true;
        return this.#decoding(slot, step, !cut, nowMs);
      case "settled":
        return this.#settled(slot, step, !cut, nowMs);
    }
  }

  /** As named by a heartbeat, within what is possible. */
  #running(slot: number, running: readonly RunningRequest[]): RunningRequest[] {
    const contextTokens = this.#state.replica(slot)?.capacity.contextTokens ?? 0;
    return running.map((each) => ({ ...each, outputTokens: believedOutput(each.outputTokens, contextTokens) }));
  }

  /** @param teaches its numbers were believed: one that had to be cut says nothing of the rest. */
  #decoding(slot: number, step: DecodingReport, teaches: boolean, nowMs: number): void {
    const { leases, rates, ring, paths, events } = this.#state;
    const { id, attempt, promptTokens, cachedTokens, transfer, loadMs = null, loadedTokens = null } = step;
    leases.decoding(step, 1, nowMs);
    const lease = leases.get(step);
    if (lease?.firstTokenAtMs === nowMs) this.#judge(lease, nowMs);
    if (lease !== undefined) paths.firstToken(lease, promptTokens, cachedTokens, lease.promptTokens - lease.uncachedTokens);
    // A prompt that was prefilled elsewhere says nothing of how fast this replica computes, and neither does one that waited for a replica to wake.
    const isMeasured = teaches && lease?.interrupted !== true;
    if (isMeasured && (transfer?.kind !== "prefill" || transfer.outcome === "fallback")) {
      const prefillMs = step.prefillMs - (loadMs ?? 0) - (transfer?.ms ?? 0);
      const uncachedTokens = promptTokens - cachedTokens;
      rates.reportPrefill(slot, { uncachedTokens, cachedTokens, prefillMs, endedAtMs: nowMs, untold: leases.prefilling(slot) });
    }
    if (isMeasured && loadMs !== null && loadedTokens !== null) rates.reportLoad(slot, loadedTokens, loadMs);
    if (transfer !== undefined) this.#transferred(slot, step, transfer, nowMs);
    const record = ring.get(id, attempt);
    if (record === undefined) return;
    if (teaches) rates.reportPrompt(record.request.promptBytes, promptTokens);
    const ttftMs = nowMs - record.decidedAtMs;
    const outcome = { cachedTokens, promptTokens, ttftMs, loadMs, loadedTokens, transfer: transfer ?? null };
    events.emit({ kind: "decoding", key: { id, attempt }, outcome });
  }

  /** What its client was predicted to wait, against what it waited. */
  #judge({ replica, predicted, interrupted, reservedAtMs }: Lease, nowMs: number): void {
    if (predicted === undefined || interrupted) return;
    const { rates, events } = this.#state;
    const tookMs = Math.max(1, nowMs - reservedAtMs);
    events.emit({ kind: "firstToken", slot: replica, predictedMs: predicted.firstTokenMs, tookMs });
    rates.reportFirstToken(replica, predicted.workMs, tookMs, nowMs);
  }

  #transferred(slot: number, key: LeaseKey, transfer: TransferReport, nowMs: number): void {
    const { leases, rates, events } = this.#state;
    events.emit({ kind: "transferred", key: { id: key.id, attempt: key.attempt }, transfer });
    if (transfer.outcome === "used") {
      // Only a pull's time is the transfer's alone beyond doubt.
      if (transfer.kind === "pull") rates.reportTransfer(slot, transfer.tokens, transfer.ms);
      return;
    }
    // Nobody waits for it any more.
    leases.release(prefillLease(key), nowMs);
  }

  #settled(slot: number, step: SettledReport, teaches: boolean, nowMs: number): void {
    const { leases, rates, events } = this.#state;
    const { id, attempt, promptTokens, cachedTokens, outputTokens, decodeMs = 0 } = step;
    const besides = leases.besides(step, nowMs);
    if (besides !== null && teaches) {
      this.#decodes.ended(slot);
      rates.reportDecode(slot, { outputTokens, decodeMs, ...besides });
    }
    const ended = leases.settle(step, { promptTokens, cachedTokens, outputTokens }, nowMs);
    // What was prefilled for another replica is that one's to count.
    if (ended.kind === "repeated" || isPrefillLease(step)) return;
    leases.release(prefillLease(step), nowMs);
    // A prewarm writes nothing.
    if (outputTokens > 0 && teaches) rates.reportOutput(outputTokens);
    events.emit({ kind: "settled", key: { id, attempt }, promptTokens, cachedTokens, outputTokens });
  }

  /** Time passes: replicas fall silent, leases and claims run out. */
  tick(nowMs: number): MembershipEffect[] {
    const { leases, line, events, index, seen, rates } = this.#state;
    index.tick(nowMs / 1_000);
    seen.tick(nowMs / 1_000);
    const effects = this.membership({ kind: "tick" }, nowMs);
    for (const { id, attempt } of leases.expire(nowMs)) events.emit({ kind: "expired", key: { id, attempt }, cause: "time" });
    line.expire(nowMs);
    rates.tick(nowMs);
    return effects;
  }

  #follow(effect: MembershipEffect, nowMs: number): void {
    const { leases, index, rates, paths, breaker, events } = this.#state;
    switch (effect.kind) {
      case "replaced":
      case "expired": {
        const { slot } = effect.kind === "replaced" ? effect.old : effect.replica;
        index.forgetReplica(slot);
        leases.forgetReplica(slot, nowMs);
        rates.forgetReplica(slot);
        this.#decodes.forget(slot);
        paths.forgetReplica(slot);
        breaker.forget(slot);
        this.#resyncs.forget(slot);
        if (effect.kind === "replaced") return;
        this.#state.isDrained = effect.replica.draining && this.#state.membership.replicas.length === 0;
        events.emit({ kind: "lost", replica: effect.replica, reason: effect.reason });
        return;
      }
      case "joined":
        this.#state.isDrained = false;
        events.emit({ kind: "joined", replica: effect.replica });
        return;
      case "becameSuspect":
        leases.replicaLost(effect.replica.slot, nowMs);
        // The next heartbeat would lay the silence on the tokens written in it.
        this.#decodes.forget(effect.replica.slot);
        events.emit({ kind: "suspect", replica: effect.replica, reason: effect.reason });
        return;
      case "recovered":
        leases.replicaRecovered(effect.replica.slot);
    }
  }
}
