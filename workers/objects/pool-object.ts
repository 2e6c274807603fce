/**
 * One pool: the index of what its replicas hold, who they are, and who has a lease on them. All of it lives in this object's memory,
 * because a decision must see and change it in one turn; SQLite has a checkpoint of it, not more than a few seconds old, and what
 * came after is asked of the replicas again. The thinking is in src/; here are sockets, rows and timers.
 */
import { DurableObject } from "cloudflare:workers";
import { FrameBudgets } from "../../src/pool/frame-budget.ts";
import type { MembershipEffect } from "../../src/pool/membership.ts";
import { PoolClock } from "../../src/pool/pool-clock.ts";
import type { MetricFamily } from "../../src/prometheus.ts";
import { createStorableIndex } from "../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../src/router/intake.ts";
import { type Ask, type DecideAnswer, Dispatcher, onPoolClock, type PoolCard } from "../../src/router/dispatcher.ts";
import type { Funnel } from "../../src/explain/funnel.ts";
import type { RecordRow } from "../../src/explain/record.ts";
import { poolMetrics } from "../../src/router/metrics.ts";
import { type PoolRoster, rosterOf } from "../../src/router/roster.ts";
import { PoolState } from "../../src/router/state.ts";
import { PROFILES } from "../../src/decision/profiles.ts";
import { CLOSE, type FromReplica, type Hello } from "../../src/wire/control.ts";
import { decodeResidencyFrame } from "../../src/wire/residency-frame.ts";
import { lookAtDisk } from "../disk-room.ts";
import { type Config, configOf, type Env } from "../env.ts";
import { AdmissionKeys } from "./admission-keys.ts";
import { DecisionStore } from "./decision-store.ts";
import { PoolCheckpoint } from "./pool-checkpoint.ts";
import {
  ask,
  attach,
  type Attachment,
  attachment,
  attachStranger,
  closeSaying,
  frameOf,
  helloProblem,
  introductionOf,
  isAllowed,
  isInBudget,
  openerOf,
  refuse,
  rejoinAll,
  say,
  sayCancelled,
  sayLeftOut,
  sayWayBack,
  strangersLeft,
  welcome,
} from "./replica-socket.ts";
import { tryWaysBack } from "./way-back.ts";
import { HOLD_MS, POOL_TICK_MS } from "../../src/limits.ts";

export class PoolObject extends DurableObject<Env> {
  readonly #config: Config;
  readonly #decisions: DecisionStore;
  readonly #state: PoolState;
  readonly #intake: AnnounceIntake;
  readonly #checkpoint: PoolCheckpoint;
  readonly #dispatcher: Dispatcher;
  /** By slot. */
  readonly #sockets = new Map<number, WebSocket>();
  readonly #budgets = new FrameBudgets();
  readonly #keys = new AdmissionKeys();
  readonly #clock = new PoolClock(Date.now());
  #connections = Date.now();
  #ticking = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = configOf(env);
    const index = createStorableIndex({});
    this.#state = new PoolState(index, this.#config.remotePrefillTokens);
    this.#decisions = new DecisionStore(ctx.storage, this.#state.ring, Date.now());
    this.#intake = new AnnounceIntake(this.#state);
    this.#checkpoint = new PoolCheckpoint(ctx.storage, index, this.#state, this.#intake);
    this.#dispatcher = new Dispatcher(this.#state, {
      profile: PROFILES[this.#config.profile],
      random: () => Math.random(),
      mint: (replica, claims) => this.#keys.mint(replica, claims),
      mintTicket: (sender, claims) => this.#keys.mintTicket(sender, claims),
    });
    this.#checkpoint.restore(this.#now());
    // After ten silent seconds, or a deploy of the platform, memory is gone and the sockets are still open: all join again.
    this.#connections = rejoinAll(ctx.getWebSockets(), this.#keys, this.#connections, this.#now());
    this.#tickSoon();
  }

  /** The pool's clock; the machine's may be set at any time. */
  #now(): number {
    return this.#clock.at(Date.now());
  }

  /** A replica opens its socket. */
  override fetch(request: Request): Response {
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return new Response("expected websocket", { status: 426 });
    const nowMs = this.#now();
    const name = openerOf(request, this.#budgets, (known) => this.#state.named(known) !== undefined, nowMs);
    if (name === null) return new Response("This replica opens too many sockets. Try again in some seconds.", { status: 429 });
    const pair = new WebSocketPair();
    this.ctx.acceptWebSocket(pair[1]);
    attachStranger(pair[1], { connection: this.#connections++, name, openedAtMs: nowMs });
    this.#tickSoon();
    return new Response(null, { status: 101, webSocket: pair[0] });
  }

  /** `knownSketch`: the version of the sketch that the asker has, 0 for none; left out, it wants none. */
  card(knownSketch?: number): PoolCard {
    return this.#state.card(this.ctx.id.name ?? "", knownSketch, this.#now());
  }

  /** Held for at most 5 s while all replicas are full; then the edge calls again with the same id. */
  decide(ask: Ask): DecideAnswer | Promise<DecideAnswer> {
    const nowMs = this.#now();
    const request = onPoolClock(ask, nowMs);
    if (request.fingerprint !== this.#state.membership.specFingerprint) return { type: "stale_card", card: this.card() };
    return new Promise((resolve) => {
      const answer = this.#dispatcher.decide(request, nowMs, resolve);
      sayLeftOut(this.#state.leftOutNews.splice(0), this.#sockets);
      if (answer !== null) return resolve(answer);
      // Too late when it was answered meanwhile.
      setTimeout(() => resolve(this.#dispatcher.waitedEnough(request.id, resolve)), HOLD_MS);
    });
  }

  /** Out of the line; an answer that is on its way to the edge comes too late, and its lease ends. */
  leave(id: string): void {
    this.#dispatcher.leave(id);
    const last = this.#state.ring.get(id);
    if (last !== undefined) this.release(id, last.attempt);
  }

  /** `failed`: its replica failed it, and no other is asked. */
  release(id: string, attempt: number, failed = false): void {
    sayCancelled({ id, attempt }, this.#state.leases, this.#sockets);
    const nowMs = this.#now();
    if (failed) this.#dispatcher.fail({ id, attempt }, nowMs);
    else this.#dispatcher.release({ id, attempt }, nowMs);
    sayLeftOut(this.#state.leftOutNews.splice(0), this.#sockets);
    this.#dispatcher.dispatchWaiting(nowMs);
  }

  leaseAlive(id: string, attempt: number): boolean {
    return this.#state.leases.get({ id, attempt })?.endedAtMs === null;
  }

  /** The decision's record as JSON, with every candidate's numbers; null when it is not kept or another tenant's. */
  explain(id: string, tenant: string): string | null {
    return this.#decisions.told(id, tenant, this.ctx.id.name);
  }

  /** A tenant's last decisions as they are kept, newest first, and where its reuse was lost. They are told at the edge: nobody's decision waits for it. */
  decisionsOf(tenant: string, limit: number, mostBytes: number): { funnel: Funnel; records: RecordRow[] } {
    return { funnel: { ...this.#state.funnels.of(tenant) }, records: this.#decisions.lastOf(tenant, limit, mostBytes) };
  }

  roster(): PoolRoster {
    return rosterOf(this.#state, this.#now());
  }

  metrics(): MetricFamily[] {
    return poolMetrics(this.ctx.id.name ?? "", this.#state, this.#now());
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const nowMs = this.#now();
    // What was under way when it was closed.
    if (socket.readyState !== WebSocket.OPEN) return;
    const at = attachment(socket);
    if (!isInBudget(socket, at, message, this.#budgets, nowMs)) return;
    // What comes late over a socket that was replaced or given up says nothing of who has the slot now.
    const slot = at.slot !== null && this.#state.replica(at.slot)?.connection === at.connection ? at.slot : null;
    if (at.slot === null && !isAllowed(socket, at, message, this.ctx.id.name ?? "", this.#config)) return;
    if (typeof message === "string") {
      const frame = frameOf(socket, message);
      if (frame === null) return;
      if (frame.type === "hello") this.#hello(socket, at, frame, nowMs);
      else if (slot === null) return;
      else this.#heard(socket, at, slot, frame, nowMs);
    } else if (slot !== null) {
      const frame = decodeResidencyFrame(message);
      if (frame === null) return refuse(socket, "malformed", "This residency frame is not understood.");
      this.#checkpoint.changed();
      ask(socket, this.#intake.residency(slot, frame, nowMs));
      this.#checkpoint.saveLarge(nowMs);
    }
    this.#dispatcher.dispatchWaiting(nowMs);
    this.#tickSoon();
  }

  override webSocketClose(socket: WebSocket): void {
    // The platform keeps its descriptors until this side has closed, too.
    socket.close();
    this.#parted(socket);
  }

  override webSocketError(socket: WebSocket): void {
    this.#parted(socket);
  }

  #hello(socket: WebSocket, at: Attachment, hello: Hello, nowMs: number): void {
    const refusal = helloProblem(hello, this.ctx.id.name ?? "", this.#config, Date.now());
    if (refusal !== null) return refuse(socket, refusal[0], refusal[1]);
    // Its first heartbeat after the welcome says that it has its key, and then its way back is tried; in the same epoch it is open still.
    const said = { kind: "hello", hello: introductionOf(hello), connection: at.connection, admitted: false } as const;
    const effects = this.#intake.membership(said, nowMs);
    const refused = effects.find((effect) => effect.kind === "refused");
    if (refused !== undefined) return refuse(socket, refused.code, `Refused: ${refused.reason}.`);
    // Before the first decision: no replica, no decision.
    this.#decisions.restore();
    // Before the welcome: whoever is forgotten may have had the slot that is this replica's now.
    this.#carryOut(effects);
    const replica = this.#state.named(hello.replica);
    if (replica === undefined) return;
    if (this.#state.hashSpec === null || effects.some((effect) => effect.kind === "adopted")) {
      this.#state.hashSpec = { ...hello.hashSpec, version: 1 };
      this.#state.createdAtSeconds = Math.floor(nowMs / 1000);
    }
    const key = this.#keys.of(replica.name, replica.epoch);
    attach(socket, { ...at, slot: replica.slot, epoch: replica.epoch, key });
    welcome(socket, replica, { sockets: this.#sockets, admissionKey: key.key, poolNowMs: nowMs });
    for (const key of this.#intake.reconcile(replica.slot, hello.running, nowMs)) say(socket, { type: "cancel", ...key });
    ask(socket, this.#intake.needAfterHello(replica.slot, hello.seq, nowMs));
    this.#checkpoint.changed(true);
  }

  #heard(socket: WebSocket, at: Attachment, slot: number, frame: Exclude<FromReplica, Hello>, nowMs: number): void {
    switch (frame.type) {
      case "heartbeat": {
        const { effects, need } = this.#intake.heartbeat(slot, at.epoch, { ...frame.load, ...frame }, nowMs);
        say(socket, { type: "time", poolNowMs: nowMs });
        ask(socket, need);
        this.#carryOut(effects);
        return this.#tryWaysBack(nowMs);
      }
      case "leases":
        for (const report of frame.reports) this.#intake.lease(slot, report, nowMs);
        // They teach rates.
        this.#checkpoint.changed();
        return;
      case "drain":
        this.#carryOut(this.#intake.membership({ kind: "drain", slot, epoch: at.epoch }, nowMs));
    }
  }

  #parted(socket: WebSocket): void {
    const at = attachment(socket);
    if (at.slot === null) return;
    if (this.#sockets.get(at.slot) === socket) this.#sockets.delete(at.slot);
    const nowMs = this.#now();
    this.#carryOut(this.#intake.membership({ kind: "socketClosed", slot: at.slot, connection: at.connection }, nowMs));
    this.#dispatcher.dispatchWaiting(nowMs);
    this.#tickSoon();
  }

  /** Nobody waits for it. One that has ended makes room for the next, or for one in a new life of its replica. */
  #tryWaysBack(nowMs: number): void {
    tryWaysBack(this.#intake.waysDue(nowMs), this.#keys, (made, outcome) => {
      const endedMs = this.#now();
      this.#carryOut(this.#intake.wayTried(made, outcome, endedMs));
      this.#tryWaysBack(endedMs);
      this.#dispatcher.dispatchWaiting(endedMs);
    });
  }

  /** What membership asks of sockets and keys; the pool's own knowledge has followed already. */
  #carryOut(effects: readonly MembershipEffect[]): void {
    for (const effect of effects) {
      if ("replica" in effect) sayWayBack(this.#sockets.get(effect.replica.slot), effect);
      if (effect.kind !== "expired") continue;
      const { slot, name } = effect.replica;
      this.#keys.forget(name);
      closeSaying(this.#sockets.get(slot), CLOSE.silent, effect.reason);
      this.#sockets.delete(slot);
      this.#checkpoint.changed();
    }
  }

  #tickSoon(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    setTimeout(() => lookAtDisk(this.env, "pool", (hasRoom) => this.#tick(hasRoom)), POOL_TICK_MS);
  }

  #tick(hasRoom: boolean): void {
    this.#checkpoint.hasRoom = hasRoom;
    this.#ticking = false;
    const nowMs = this.#now();
    this.#carryOut(this.#intake.tick(nowMs));
    this.#tryWaysBack(nowMs);
    const strangers = strangersLeft(this.ctx.getWebSockets(), nowMs);
    this.#dispatcher.dispatchWaiting(nowMs);
    this.#checkpoint.tick(nowMs);
    // An empty pool may leave memory; the next call or socket wakes it.
    const busy = strangers + this.#state.membership.replicas.length + this.#state.leases.size + this.#dispatcher.waiting;
    if (hasRoom) this.#decisions.tick(nowMs, busy === 0);
    if (busy + this.#state.ring.unwritten > 0 || this.#checkpoint.hasChanges) this.#tickSoon();
    else this.#clock.rest();
  }
}
