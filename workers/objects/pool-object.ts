/**
 * One pool: the index of what its replicas hold, who they are, and who has a lease on them. All of it lives in this object's memory,
 * because a decision must see and change it in one turn; SQLite has a checkpoint of it, not more than a few seconds old, and what
 * came after is asked of the replicas again. The thinking is in src/; here are sockets, rows and timers.
 */
import { DurableObject } from "cloudflare:workers";
import { FrameBudgets } from "../../src/pool/frame-budget.ts";
import { PoolClock } from "../../src/pool/pool-clock.ts";
import type { Replica } from "../../src/pool/replica.ts";
import type { MetricFamily } from "../../src/prometheus.ts";
import { createStorableIndex } from "../../src/residency/typed-array-index.ts";
import { type Ask, type DecideAnswer, onPoolClock, Pool, type PoolCard, type PoolEffect, type PoolRoster } from "../../src/router/pool.ts";
import type { Funnel } from "../../src/explain/funnel.ts";
import type { RecordRow } from "../../src/explain/record.ts";
import { PROFILES } from "../../src/decision/profiles.ts";
import { CLOSE, type FromReplica, type Hello } from "../../src/wire/control.ts";
import { decodeResidencyFrame } from "../../src/wire/residency-frame.ts";
import { lookAtDisk } from "../disk-room.ts";
import { type Config, configOf, type Env } from "../env.ts";
import { AdmissionKeys } from "./admission-keys.ts";
import { DecisionStore } from "./decision-store.ts";
import { PoolCheckpoint } from "./pool-checkpoint.ts";
import {
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
  sayEffect,
  strangersLeft,
  welcome,
} from "./replica-socket.ts";
import { tryWay } from "./way-back.ts";
import { HOLD_MS, POOL_TICK_MS } from "../../src/limits.ts";

/** A hello and the socket over which it came. */
interface Greeted {
  socket: WebSocket;
  at: Attachment;
  nowMs: number;
}

export class PoolObject extends DurableObject<Env> {
  readonly #config: Config;
  readonly #decisions: DecisionStore;
  readonly #pool: Pool;
  readonly #checkpoint: PoolCheckpoint;
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
    this.#pool = new Pool({
      index,
      remotePrefillTokens: this.#config.remotePrefillTokens,
      profile: PROFILES[this.#config.profile],
      random: () => Math.random(),
      mint: (replica, claims) => this.#keys.mint(replica, claims),
      mintTicket: (sender, claims) => this.#keys.mintTicket(sender, claims),
    });
    this.#decisions = new DecisionStore(ctx.storage, this.#pool.state.ring, Date.now());
    this.#checkpoint = new PoolCheckpoint(ctx.storage, index, this.#pool);
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
    const name = openerOf(request, this.#budgets, (known) => this.#pool.state.named(known) !== undefined, nowMs);
    if (name === null) return new Response("This replica opens too many sockets. Try again in some seconds.", { status: 429 });
    const pair = new WebSocketPair();
    this.ctx.acceptWebSocket(pair[1]);
    attachStranger(pair[1], { connection: this.#connections++, name, openedAtMs: nowMs });
    this.#tickSoon();
    return new Response(null, { status: 101, webSocket: pair[0] });
  }

  /** `knownSketch`: the version of the sketch that the asker has, 0 for none; left out, it wants none. */
  card(knownSketch?: number): PoolCard {
    return this.#pool.card(this.ctx.id.name ?? "", knownSketch, this.#now());
  }

  /** Held for at most 5 s while all replicas are full; then the edge calls again with the same id. */
  decide(ask: Ask): DecideAnswer | Promise<DecideAnswer> {
    const nowMs = this.#now();
    const request = onPoolClock(ask, nowMs);
    if (request.fingerprint !== this.#pool.state.membership.specFingerprint) return { type: "stale_card", card: this.card() };
    return new Promise((resolve) => {
      const { answer, effects } = this.#pool.decide(request, nowMs, resolve);
      this.#carryOut(effects);
      if (answer !== null) return resolve(answer);
      // Too late when it was answered meanwhile.
      setTimeout(() => resolve(this.#pool.waitedEnough(request.id, resolve)), HOLD_MS);
    });
  }

  /** Out of the line; an answer that is on its way to the edge comes too late, and its lease ends. */
  leave(id: string): void {
    this.#carryOut(this.#pool.leave(id, this.#now()));
  }

  /** `failed`: its replica failed it, and no other is asked. */
  release(id: string, attempt: number, failed = false): void {
    this.#carryOut(this.#pool.release({ id, attempt }, this.#now(), failed));
  }

  leaseAlive(id: string, attempt: number): boolean {
    return this.#pool.isLeaseAlive({ id, attempt });
  }

  /** The decision's record as JSON, with every candidate's numbers; null when it is not kept or another tenant's. */
  explain(id: string, tenant: string): string | null {
    return this.#decisions.told(id, tenant, this.ctx.id.name);
  }

  /** A tenant's last decisions as they are kept, newest first, and where its reuse was lost. The edge writes them out, so that no decision waits for it. */
  decisionsOf(tenant: string, limit: number, mostBytes: number): { funnel: Funnel; records: RecordRow[] } {
    return { funnel: { ...this.#pool.state.funnels.of(tenant) }, records: this.#decisions.lastOf(tenant, limit, mostBytes) };
  }

  roster(): PoolRoster {
    return this.#pool.roster(this.#now());
  }

  metrics(): MetricFamily[] {
    return this.#pool.metrics(this.ctx.id.name ?? "", this.#now());
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const nowMs = this.#now();
    // What was under way when it was closed.
    if (socket.readyState !== WebSocket.OPEN) return;
    const at = attachment(socket);
    if (!isInBudget(socket, at, message, this.#budgets, nowMs)) return;
    // What comes late over a socket that was replaced or given up says nothing of who has the slot now.
    const slot = at.slot !== null && this.#pool.state.replica(at.slot)?.connection === at.connection ? at.slot : null;
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
      this.#carryOut(this.#pool.residency(slot, frame, nowMs));
      this.#checkpoint.saveLarge(nowMs);
    }
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
    const said = { ...introductionOf(hello), connection: at.connection, admitted: false };
    this.#carryOut(this.#pool.hello(said, nowMs), { socket, at, nowMs });
  }

  #heard(socket: WebSocket, at: Attachment, slot: number, frame: Exclude<FromReplica, Hello>, nowMs: number): void {
    switch (frame.type) {
      case "heartbeat": {
        say(socket, { type: "time", poolNowMs: nowMs });
        return this.#carryOut(this.#pool.heartbeat(slot, at.epoch, frame, nowMs));
      }
      case "leases":
        this.#carryOut(this.#pool.leaseReports(slot, frame.reports, nowMs));
        // They teach rates.
        this.#checkpoint.changed();
        return;
      case "drain":
        this.#carryOut(this.#pool.drain(slot, at.epoch, nowMs));
    }
  }

  #parted(socket: WebSocket): void {
    const at = attachment(socket);
    if (at.slot === null) return;
    if (this.#sockets.get(at.slot) === socket) this.#sockets.delete(at.slot);
    this.#carryOut(this.#pool.parted(at.slot, at.connection, this.#now()));
    this.#tickSoon();
  }

  /** What the pool asks of sockets, keys and rows. `greeted`: the socket of the hello that is answered. */
  #carryOut(effects: readonly PoolEffect[], greeted?: Greeted): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "refuse":
          if (greeted !== undefined) refuse(greeted.socket, effect.code, `Refused: ${effect.reason}.`);
          break;
        case "welcome":
          if (greeted !== undefined) this.#welcome(greeted, effect.replica);
          break;
        case "forget":
          this.#forget(effect.replica, effect.reason);
          break;
        case "answer":
          effect.to(effect.answer);
          break;
        case "tryWay":
          // Nobody waits for it.
          void tryWay(effect.way, this.#keys).then((outcome) => this.#carryOut(this.#pool.wayTried(effect.way, outcome, this.#now())));
          break;
        default:
          sayEffect(this.#sockets.get(effect.slot), effect);
      }
    }
  }

  #welcome({ socket, at, nowMs }: Greeted, replica: Replica): void {
    // Before the first decision: no replica, no decision.
    this.#decisions.restore();
    const key = this.#keys.of(replica.name, replica.epoch);
    attach(socket, { ...at, slot: replica.slot, epoch: replica.epoch, key });
    welcome(socket, replica, { sockets: this.#sockets, admissionKey: key.key, poolNowMs: nowMs });
    this.#checkpoint.changed(true);
  }

  #forget({ slot, name }: Replica, reason: string): void {
    this.#keys.forget(name);
    closeSaying(this.#sockets.get(slot), CLOSE.silent, reason);
    this.#sockets.delete(slot);
    this.#checkpoint.changed();
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
    this.#carryOut(this.#pool.tick(nowMs));
    const strangers = strangersLeft(this.ctx.getWebSockets(), nowMs);
    this.#checkpoint.tick(nowMs);
    // An empty pool may leave memory; the next call or socket wakes it.
    const busy = strangers + this.#pool.busy;
    if (hasRoom) this.#decisions.tick(nowMs, busy === 0);
    if (busy + this.#pool.state.ring.unwritten > 0 || this.#checkpoint.hasChanges) this.#tickSoon();
    else this.#clock.rest();
  }
}
