/** A replica that speaks the announce protocol by hand: it sends when told to, keeps what the pool says, and its link may drop, delay and reorder. */
import type { ResidencyEntry } from "../../src/pool/frames.ts";
import type { LeaseReport } from "../../src/wire/lease-frame.ts";
import { env } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { DEFAULT_SCHEDULE } from "../../src/prefix/segment.ts";
import { type FromPool, type FromReplica, type Hello, parseFromPool, PROTOCOL_VERSION, type Running } from "../../src/wire/control.ts";
import { encodeResidencyFrame } from "../../src/wire/residency-frame.ts";
import type { Mac } from "../../src/wire/sealed.ts";
import { nonceOf, signNonce } from "../../src/wire/way-back.ts";
import { configOf } from "../../workers/env.ts";

export type Said<T extends FromPool["type"]> = Extract<FromPool, { type: T }>;
type Frame = Uint8Array<ArrayBuffer>;

export const TOKENS_PER_SEGMENT = 64;
export const capacity = { sequences: 2, kvTokens: 100_000, blockTokens: 16, contextTokens: 32_768, queueLimit: 1 };

/** The latest of each URL. */
const byUrl = new Map<string, MockReplica>();

/** The answer of a mock replica whose way back is tried; null when `url` asks for something else. */
export function wayBackAnswer(url: string): Response | null {
  const { origin, pathname } = new URL(url);
  const nonce = nonceOf(pathname);
  return nonce === null ? null : (byUrl.get(origin)?.proveWayBack(nonce) ?? new Response(null, { status: 502 }));
}

const realFetch = globalThis.fetch;
/** The objects run in the tests' isolate, and so does their `fetch`. */
globalThis.fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> =>
  (typeof input === "string" ? wayBackAnswer(input) : null) ?? realFetch(input, init);

export class MockReplica {
  readonly name: string;
  readonly pool: string;
  epoch: number;
  /** What goes into the next hello instead of the usual. */
  overrides: Partial<Hello> = {};
  /** Its truth. */
  readonly held = new Map<bigint, { tokens: number; tierBits: number }>();
  seq = 0;
  journal: { seq: number; bytes: Frame }[] = [];
  running: Running[] = [];
  /** Entries of one frame of a full resync. */
  fullFrameEntries = 4_096;
  answersResync = true;
  answersRejoin = true;
  /** A heartbeat follows each welcome: from then on the pool sends work. */
  confirms = true;
  answersWayBack = true;
  /** How often the pool has tried its way back. */
  wayTries = 0;
  /** Every residency frame goes through here; the default sends it. */
  link: (bytes: Frame) => void = (bytes) => this.transmit(bytes);
  readonly heard: FromPool[] = [];
  readonly sent: ("delta" | "full")[] = [];
  closed: { code: number; reason: string } | null = null;
  #socket: WebSocket | null = null;
  #read = 0;
  #wake: () => void = () => {};

  constructor(pool: string, name = "r0", epoch = 1_000) {
    this.pool = pool;
    this.name = name;
    this.epoch = epoch;
    byUrl.set(this.url, this);
  }

  static async join(pool: string, name = "r0", overrides: Partial<Hello> = {}): Promise<MockReplica> {
    const replica = new MockReplica(pool, name);
    replica.overrides = overrides;
    await replica.join();
    return replica;
  }

  async open(): Promise<void> {
    const response = await env.POOL.getByName(this.pool).fetch("https://pool/announce", { headers: { upgrade: "websocket" } });
    const socket = response.webSocket;
    if (socket === null) throw new Error(`no socket: ${response.status}`);
    this.#socket = socket;
    this.closed = null;
    socket.addEventListener("message", (event) => this.#hear(String(event.data)));
    socket.addEventListener("close", ({ code, reason }) => {
      if (this.#socket !== socket) return;
      this.closed = { code, reason };
      this.#wake();
    });
    socket.accept();
  }

  /** Resolves when it is ready, unless it keeps its heartbeat or its proof back. */
  async join(): Promise<Said<"welcome">> {
    await this.open();
    this.hello();
    const from = this.heard.length;
    const welcome = await this.next("welcome");
    const done = (): boolean => this.heard.slice(from).some(({ type }) => type === "reached" || type === "unreached");
    while (this.confirms && this.answersWayBack && !done()) await this.#change();
    return welcome;
  }

  hello(): void {
    this.say({
      type: "hello",
      protocol: PROTOCOL_VERSION,
      pool: this.pool,
      replica: this.name,
      epoch: this.epoch,
      url: this.url,
      roles: ["prefill", "decode"],
      model: "demo",
      hashSpec: { version: 1, schedule: [...DEFAULT_SCHEDULE], order: "system-then-tools" },
      anchors: "exact",
      capacity,
      token: configOf(env).joinToken(this.pool),
      seq: this.seq,
      running: this.running,
      ...this.overrides,
    });
  }

  say(frame: FromReplica): void {
    this.sendText(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.#socket?.send(text);
  }

  transmit(bytes: Uint8Array): void {
    this.#socket?.send(bytes);
  }

  close(): void {
    this.#socket?.close(1000, "bye");
  }

  /** Its word that the pool's signature is under its own key. */
  get mac(): Mac {
    const key = this.heard.findLast((frame) => frame.type === "welcome")?.admissionKey ?? "";
    return (text) => createHmac("sha256", Buffer.from(key, "base64url")).update(text).digest("base64url");
  }

  /** Of this replica in this pool, so that `fetch` finds it. */
  get url(): string {
    const host = `${this.name}.${this.pool}`.toLowerCase().replaceAll(/[^a-z0-9.-]/g, "-");
    return `http://${host}.test:8000`;
  }

  /** What its HTTP side says to the pool that tries its way back. */
  proveWayBack(nonce: string): Response {
    this.wayTries++;
    return this.answersWayBack ? new Response(signNonce(nonce, this.mac)) : new Response(null, { status: 404 });
  }

  heartbeat(): void {
    const load = { usedKvTokens: 0 };
    this.say({ type: "heartbeat", seq: this.seq, entries: this.held.size, load, running: this.running });
  }

  /** Holds the chain's segments on its device and says so in one delta. */
  hold(chain: BigUint64Array, tierBits = 1): void {
    this.delta([...chain].map((hash, depth) => ({ hash, tokens: (depth + 1) * TOKENS_PER_SEGMENT, tierBits })));
  }

  drop(hashes: Iterable<bigint>): void {
    this.delta([...hashes].map((hash) => ({ hash, tokens: 0, tierBits: 0 })));
  }

  delta(entries: ResidencyEntry[]): void {
    for (const { hash, tokens, tierBits } of entries) {
      if (tierBits === 0) this.held.delete(hash);
      else this.held.set(hash, { tokens, tierBits });
    }
    const bytes = encodeResidencyFrame({ kind: "delta", first: true, last: true, seq: ++this.seq, entries });
    this.journal.push({ seq: this.seq, bytes });
    this.sent.push("delta");
    this.link(bytes);
  }

  report(...reports: LeaseReport[]): void {
    this.say({ type: "leases", reports });
  }

  /** The first token came. */
  decoding(id: string, more: Partial<Extract<LeaseReport, { event: "decoding" }>> = {}): void {
    this.report({ event: "decoding", id, attempt: 1, promptTokens: 1_000, cachedTokens: 0, prefillMs: 50, ...more });
  }

  settle(id: string, attempt = 1): void {
    const usage = { promptTokens: 100, cachedTokens: 0, outputTokens: 10, prefillMs: 10, decodeMs: 10 };
    this.report({ event: "settled", id, attempt, reason: "stop", ...usage });
  }

  restart(): void {
    this.epoch++;
    this.seq = 0;
    this.journal = [];
    this.held.clear();
    this.running = [];
  }

  /** The next frame of the type that was not read yet; those before it are passed over. Throws when the socket closes first. */
  async next<T extends FromPool["type"]>(type: T): Promise<Said<T>> {
    for (;;) {
      while (this.#read < this.heard.length) {
        const frame = this.heard[this.#read++];
        if (frame?.type === type) return frame as Said<T>;
      }
      if (this.closed !== null) throw new Error(`closed (${this.closed.code}) before a ${type} came: ${this.closed.reason}`);
      await this.#change();
    }
  }

  async closing(): Promise<{ code: number; reason: string }> {
    while (this.closed === null) await this.#change();
    return this.closed;
  }

  resyncsAsked(): (number | null)[] {
    return this.heard.filter((frame) => frame.type === "resync").map(({ afterSeq }) => afterSeq);
  }

  resync(afterSeq: number | null): void {
    const oldest = this.journal[0]?.seq ?? this.seq + 1;
    if (afterSeq === null || afterSeq > this.seq || afterSeq + 1 < oldest) return this.#full();
    for (const frame of this.journal) {
      if (frame.seq <= afterSeq) continue;
      this.sent.push("delta");
      this.link(frame.bytes);
    }
  }

  #full(): void {
    const all = [...this.held].map(([hash, entry]) => ({ hash, ...entry }));
    let at = 0;
    do {
      const entries = all.slice(at, at + this.fullFrameEntries);
      const first = at === 0;
      at += this.fullFrameEntries;
      this.sent.push("full");
      this.link(encodeResidencyFrame({ kind: "full", first, last: at >= all.length, seq: this.seq, entries }));
    } while (at < all.length);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  #hear(text: string): void {
    const parsed = parseFromPool(text);
    if (!parsed.ok) throw new Error(`the pool said ${text}: ${parsed.why}`);
    const frame = parsed.value;
    this.heard.push(frame);
    if (frame.type === "resync" && this.answersResync) this.resync(frame.afterSeq);
    if (frame.type === "rejoin" && this.answersRejoin) this.hello();
    if (frame.type === "welcome" && this.confirms) this.heartbeat();
    this.#wake();
  }
}
