/**
 * The replica's side of the announce protocol (docs/protocol.md): one WebSocket to the pool, kept open for the replica's whole life.
 * What changed is kept in a bounded journal, so that a pool that missed something can have it again; what the journal no longer
 * covers is announced anew in full.
 */
import type { ResidencyEntry } from "../src/pool/frames.ts";
import { WebSocket } from "undici";
import { type FromPool, type FromReplica, type Hello, parseFromPool, type ReplicaLoad, type Running } from "../src/wire/control.ts";
import type { LeaseReport } from "../src/wire/lease-frame.ts";
import { HEADER } from "../src/wire/headers.ts";
import { encodeResidencyFrame, MAX_FRAME_ENTRIES } from "../src/wire/residency-frame.ts";
import { HEARTBEAT_MS } from "../src/limits.ts";

const JOURNAL_FRAMES = 1_024;
const RECONNECT_FIRST_MS = 50;
const RECONNECT_MOST_MS = 1_000;
const OPEN_TIMEOUT_MS = 3_000;
const MAX_REPORTS = 4_096;

export interface Announcer {
  /** An entry changed. Sent within the pool's pace, in order. */
  residency(entry: ResidencyEntry): void;
  lease(report: LeaseReport): void;
  /** A new life of the engine: everything announced before is void. */
  restart(stillHeld: Iterable<ResidencyEntry>): void;
  drain(): void;
  close(): void;
}

interface AnnounceOptions {
  /** ws: or wss: address of the edge. */
  join: string;
  hello(): Omit<Hello, "seq" | "running" | "type">;
  running(): Running[];
  load(): ReplicaLoad;
  /** All that is held now. */
  entries(): Iterable<ResidencyEntry>;
  entryCount(): number;
  onWelcome(welcome: Extract<FromPool, { type: "welcome" }>): void;
  /** The pool's clock now, as it answers a heartbeat. */
  onTime(poolNowMs: number): void;
  onCancel(id: string, attempt: number): void;
  /** The pool refused this replica; it tries again, in case the operator mends it. */
  onRefused(message: string): void;
  /** The pool can't reach this replica at its URL, and why; it tries again by itself. */
  onUnreached(message: string): void;
  /** The pool sends it nothing for a while, as it has failed what it was sent. */
  onLeftOut(message: string): void;
  /** Whether the pool sends it work: it is connected, and was reached at its URL. */
  onState(ready: boolean): void;
  /** The socket: open, closed after the pool had welcomed this replica, or closed before it was open. Not called at the end. */
  onSocket?(event: "open" | "lost" | "failed"): void;
}

interface JournalFrame {
  seq: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Opens the socket and keeps it open until `close`. */
export function announce(options: AnnounceOptions): Announcer {
  return new Announcement(options);
}

class Announcement implements Announcer {
  readonly #options: AnnounceOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #socket: WebSocket | null = null;
  #joined = false;
  /** The pool has reached it since it joined. */
  #reached = false;
  /** Of the last hello. */
  #epoch = 0;
  #closed = false;
  #draining = false;
  #seq = 0;
  #journal: JournalFrame[] = [];
  #pending: ResidencyEntry[] = [];
  #reports: LeaseReport[] = [];
  #intervalMs = 10;
  #lastFlushMs = 0;
  #flushTimer: NodeJS.Timeout | null = null;
  #reconnectMs = RECONNECT_FIRST_MS;

  constructor(options: AnnounceOptions) {
    this.#options = options;
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#connect();
  }

  residency(entry: ResidencyEntry): void {
    this.#pending.push(entry);
    this.#flushSoon();
  }

  lease(report: LeaseReport): void {
    this.#reports.push(report);
    this.#flushSoon();
  }

  restart(stillHeld: Iterable<ResidencyEntry>): void {
    this.#seq = 0;
    this.#journal = [];
    this.#pending = [...stillHeld];
    this.#reports = [];
    // Nothing of the new life is said before its hello. One that is on its way already was of the life before.
    this.#joined = false;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#sayHello();
  }

  drain(): void {
    this.#draining = true;
    if (this.#joined) this.#send({ type: "drain" });
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#heartbeat);
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#socket?.close();
  }

  #send(frame: FromReplica): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  #flushSoon(): void {
    if (this.#flushTimer !== null) return;
    const waitMs = Math.max(0, this.#lastFlushMs + this.#intervalMs - performance.now());
    this.#flushTimer = setTimeout(() => this.#flush(), waitMs);
  }

  #flush(): void {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    this.#lastFlushMs = performance.now();
    while (this.#pending.length > 0) {
      const entries = this.#pending.splice(0, MAX_FRAME_ENTRIES);
      const bytes = encodeResidencyFrame({ kind: "delta", first: true, last: true, seq: ++this.#seq, entries });
      this.#journal.push({ seq: this.#seq, bytes });
      if (this.#journal.length > JOURNAL_FRAMES) this.#journal.shift();
      if (this.#joined) this.#socket?.send(bytes);
    }
    // Unjoined, reports are void: the hello's list of running requests is the truth then.
    if (!this.#joined) this.#reports = [];
    while (this.#reports.length > 0) this.#send({ type: "leases", reports: this.#reports.splice(0, MAX_REPORTS) });
  }

  #beat(): void {
    if (!this.#joined) return;
    this.#flush();
    const options = this.#options;
    this.#send({ type: "heartbeat", seq: this.#seq, entries: options.entryCount(), load: options.load(), running: options.running() });
  }

  #sayHello(): void {
    this.#flush();
    this.#joined = false;
    const hello = this.#options.hello();
    this.#epoch = hello.epoch;
    this.#send({ type: "hello", ...hello, seq: this.#seq, running: this.#options.running() });
  }

  #resync(afterSeq: number | null): void {
    this.#flush();
    const oldest = this.#journal[0]?.seq ?? this.#seq + 1;
    if (afterSeq === null || afterSeq > this.#seq || afterSeq + 1 < oldest) return this.#sendFull();
    for (const frame of this.#journal) if (frame.seq > afterSeq) this.#socket?.send(frame.bytes);
  }

  #sendFull(): void {
    let entries: ResidencyEntry[] = [];
    let first = true;
    const part = (last: boolean): void => {
      this.#socket?.send(encodeResidencyFrame({ kind: "full", first, last, seq: this.#seq, entries }));
      first = false;
      entries = [];
    };
    for (const entry of this.#options.entries()) {
      if (entries.length === MAX_FRAME_ENTRIES) part(false);
      entries.push(entry);
    }
    part(true);
  }

  #heard(frame: FromPool): void {
    switch (frame.type) {
      case "welcome":
        // Of a hello before the last: its key is not this life's.
        if (frame.epoch !== undefined && frame.epoch !== this.#epoch) return;
        this.#joined = true;
        this.#intervalMs = frame.intervalMs;
        this.#reconnectMs = RECONNECT_FIRST_MS;
        this.#options.onWelcome(frame);
        if (this.#draining) this.#send({ type: "drain" });
        // The key is here: from this heartbeat on the pool tries the way back, and then sends work.
        return this.#beat();
      case "reached":
        return this.#setReached(true);
      case "unreached":
        this.#setReached(false);
        return this.#options.onUnreached(frame.message);
      case "left_out":
        return this.#options.onLeftOut(frame.message);
      case "time":
        return this.#options.onTime(frame.poolNowMs);
      case "refused":
        this.#reconnectMs = RECONNECT_MOST_MS;
        return this.#options.onRefused(frame.message);
      case "resync":
        return this.#resync(frame.afterSeq);
      case "rejoin":
        return this.#sayHello();
      case "cancel":
        return this.#options.onCancel(frame.id, frame.attempt);
      case "pace":
        this.#intervalMs = frame.intervalMs;
    }
  }

  #setReached(reached: boolean): void {
    if (this.#reached === reached) return;
    this.#reached = reached;
    this.#options.onState(reached);
  }

  #connect(): void {
    if (this.#closed) return;
    // Without the token the edge opens no socket.
    const { token, replica } = this.#options.hello();
    const headers = { authorization: `Bearer ${token}`, [HEADER.replica]: encodeURIComponent(replica) };
    const socket = new WebSocket(this.#options.join, { headers });
    this.#socket = socket;
    const giveUp = setTimeout(() => socket.close(), OPEN_TIMEOUT_MS);
    let wasOpen = false;
    socket.addEventListener("open", () => {
      clearTimeout(giveUp);
      wasOpen = true;
      this.#options.onSocket?.("open");
      this.#sayHello();
    });
    socket.addEventListener("message", (event) => {
      if (typeof event.data !== "string") return;
      const parsed = parseFromPool(event.data);
      if (parsed.ok) this.#heard(parsed.value);
    });
    // An error is always followed by a close.
    socket.addEventListener("error", () => undefined);
    socket.addEventListener("close", () => {
      clearTimeout(giveUp);
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#setReached(false);
      if (!this.#closed && !wasOpen) this.#options.onSocket?.("failed");
      if (!this.#closed && this.#joined) this.#options.onSocket?.("lost");
      this.#joined = false;
      if (!this.#closed) setTimeout(() => this.#connect(), this.#reconnectMs);
      this.#reconnectMs = Math.min(RECONNECT_MOST_MS, this.#reconnectMs * 2);
    });
  }
}
