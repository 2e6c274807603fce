/**
 * The replica's side of the announce protocol (docs/protocol.md): one WebSocket to the pool, kept open for the replica's whole life.
 * What changed is kept in a bounded journal, so that a pool that missed something can have it again; what the journal no longer
 * covers is announced anew in full.
 */
import { WebSocket } from "undici";
import {
  type FromPool,
  type FromReplica,
  type Hello,
  type LeaseReport,
  parseFromPool,
  type ReplicaLoad,
  type Running,
} from "../src/wire/control.ts";
import { encodeResidencyFrame, MAX_FRAME_ENTRIES, type ResidencyEntry } from "../src/wire/residency-frame.ts";

const HEARTBEAT_MS = 1_000;
const JOURNAL_FRAMES = 1_024;
const RECONNECT_FIRST_MS = 50;
const RECONNECT_MOST_MS = 1_000;
const OPEN_TIMEOUT_MS = 3_000;

export interface Announcer {
  /** An entry changed. Sent within the pool's pace, in order. */
  residency(entry: ResidencyEntry): void;
  lease(report: LeaseReport): void;
  /** A new life of the engine: everything announced before is void. */
  restart(epoch: number): void;
  drain(): void;
  close(): void;
}

export interface AnnounceOptions {
  /** ws: or wss: address of the edge. */
  join: string;
  hello(): Omit<Hello, "seq" | "running" | "type">;
  running(): Running[];
  load(): ReplicaLoad;
  /** All that is held now. */
  entries(): Iterable<ResidencyEntry>;
  entryCount(): number;
  onWelcome(welcome: Extract<FromPool, { type: "welcome" }>): void;
  onCancel(id: string, attempt: number): void;
  /** The pool refused this replica; it tries again, in case the operator mends it. */
  onRefused(message: string): void;
  /** Connected or not, for the operator's eyes. */
  onState(joined: boolean): void;
}

interface JournalFrame {
  seq: number;
  bytes: Uint8Array<ArrayBuffer>;
}

export function announce(options: AnnounceOptions): Announcer {
  let socket: WebSocket | null = null;
  let joined = false;
  let closed = false;
  let draining = false;
  let seq = 0;
  let journal: JournalFrame[] = [];
  let pending: ResidencyEntry[] = [];
  let reports: LeaseReport[] = [];
  let intervalMs = 10;
  let lastFlushMs = 0;
  let flushTimer: NodeJS.Timeout | null = null;
  let reconnectMs = RECONNECT_FIRST_MS;

  const send = (frame: FromReplica): void => socket?.send(JSON.stringify(frame));

  function flush(): void {
    flushTimer = null;
    lastFlushMs = performance.now();
    while (pending.length > 0) {
      const entries = pending.splice(0, MAX_FRAME_ENTRIES);
      const bytes = encodeResidencyFrame({ kind: "delta", first: true, last: true, seq: ++seq, entries });
      journal.push({ seq, bytes });
      if (journal.length > JOURNAL_FRAMES) journal.shift();
      if (joined) socket?.send(bytes);
    }
    if (joined && reports.length > 0) send({ type: "leases", reports: reports.splice(0, 4096) });
    // Unjoined, reports are void: the hello's list of running requests is the truth then.
    if (!joined) reports = [];
  }

  function soon(): void {
    if (flushTimer !== null) return;
    const waitMs = Math.max(0, lastFlushMs + intervalMs - performance.now());
    flushTimer = setTimeout(flush, waitMs);
  }

  function sendFull(): void {
    flush();
    let entries: ResidencyEntry[] = [];
    let first = true;
    const part = (last: boolean): void => {
      socket?.send(encodeResidencyFrame({ kind: "full", first, last, seq, entries }));
      first = false;
      entries = [];
    };
    for (const entry of options.entries()) {
      if (entries.length === MAX_FRAME_ENTRIES) part(false);
      entries.push(entry);
    }
    part(true);
  }

  function resync(afterSeq: number | null): void {
    flush();
    const oldest = journal[0]?.seq ?? seq + 1;
    if (afterSeq === null || afterSeq > seq || afterSeq + 1 < oldest) return sendFull();
    for (const frame of journal) if (frame.seq > afterSeq) socket?.send(frame.bytes);
  }

  function sayHello(): void {
    flush();
    joined = false;
    send({ type: "hello", ...options.hello(), seq, running: options.running() });
  }

  function heard(frame: FromPool): void {
    switch (frame.type) {
      case "welcome":
        joined = true;
        intervalMs = frame.intervalMs;
        reconnectMs = RECONNECT_FIRST_MS;
        options.onWelcome(frame);
        options.onState(true);
        if (draining) send({ type: "drain" });
        return;
      case "refused":
        reconnectMs = RECONNECT_MOST_MS;
        options.onRefused(frame.message);
        return;
      case "resync":
        return resync(frame.afterSeq);
      case "rejoin":
        return sayHello();
      case "cancel":
        return options.onCancel(frame.id, frame.attempt);
      case "pace":
        intervalMs = frame.intervalMs;
    }
  }

  function connect(): void {
    if (closed) return;
    const opened = new WebSocket(options.join);
    socket = opened;
    const giveUp = setTimeout(() => opened.close(), OPEN_TIMEOUT_MS);
    opened.addEventListener("open", () => {
      clearTimeout(giveUp);
      sayHello();
    });
    opened.addEventListener("message", (event) => {
      if (typeof event.data !== "string") return;
      const parsed = parseFromPool(event.data);
      if (parsed.ok) heard(parsed.value);
    });
    // An error is always followed by a close.
    opened.addEventListener("error", () => undefined);
    opened.addEventListener("close", () => {
      clearTimeout(giveUp);
      if (socket !== opened) return;
      socket = null;
      if (joined) options.onState(false);
      joined = false;
      if (!closed) setTimeout(connect, reconnectMs);
      reconnectMs = Math.min(RECONNECT_MOST_MS, reconnectMs * 2);
    });
  }

  const heartbeat = setInterval(() => {
    if (!joined) return;
    flush();
    send({ type: "heartbeat", seq, entries: options.entryCount(), load: options.load(), running: options.running() });
  }, HEARTBEAT_MS);

  connect();
  return {
    residency(entry) {
      pending.push(entry);
      soon();
    },
    lease(report) {
      reports.push(report);
      soon();
    },
    restart() {
      seq = 0;
      journal = [];
      pending = [];
      reports = [];
      if (joined) sayHello();
    },
    drain() {
      draining = true;
      if (joined) send({ type: "drain" });
    },
    close() {
      closed = true;
      clearInterval(heartbeat);
      if (flushTimer !== null) clearTimeout(flushTimer);
      socket?.close();
    },
  };
}
