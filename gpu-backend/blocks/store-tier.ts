/**
 * Blocks as objects `<prefix>/<first 16 digits of kvSpace>/<key>` in an S3 bucket, which several replicas may share.
 *
 * The tier knows a bounded set of what is there: what it listed, wrote or read. `has` and the byte budget speak of that set; of an
 * object it does not know, `get` learns by asking. Whoever else deletes an object is noticed at the next `get` or `refresh`. Objects
 * that were only listed have no known parent, so among these the oldest leave first, leaves or not.
 *
 * A store that is down costs a few time limits, then nothing: a breaker refuses at once and tries again after a pause; when the store
 * is back, the tier lists it again. So it does when an object that it knew is gone: whoever deleted it may have deleted more.
 *
 * Objects belong to all replicas: one is deleted as damaged only when two reads in a row were, since a read that went wrong on its way here is more likely.
 */
import type { EngineKey } from "../engine/engine.ts";
import { type BlockFault, inspectHeader, isEngineKey, type SealedBlock } from "./block.ts";
import { Breaker } from "./breaker.ts";
import { Ceiling } from "./ceiling.ts";
import { Residents } from "./residents.ts";
import { S3Bucket, type S3Failure, type S3Location } from "./s3-bucket.ts";
import { freshCounters, type Inspect, type PutOutcome, type Tier } from "./tier.ts";

const FAILURES = 3;
const PAUSE_MS = 5_000;
/** Between two listings that missing objects ask for. */
const LIST_AGAIN_MS = 10_000;
/** Evicted for one block that finds the store full. */
const MAX_TRIES = 4;
const MAX_BLOCK_BYTES = 64 * 1024 * 1024;

export interface StoreTierOptions extends S3Location {
  /** Before the kvSpace in every object's name, without slashes at its ends; may be empty. */
  prefix: string;
  kvSpace: string;
  budgetBytes: number;
  /** Milliseconds, the clock of `pin` and of the breaker. */
  now: () => number;
  /** Of one call. Default 2,000. */
  timeoutMs?: number;
  /** Objects known at once. Default 200,000. */
  maxKnown?: number;
}

export interface StoreTier extends Tier {
  /** Learns what is there, up to the bounds. Never rejects; false when the store did not answer. */
  refresh(): Promise<boolean>;
  /** Whether the store counts as down. */
  readonly down: boolean;
}

/** Knows nothing before the first `refresh`. */
export function createStoreTier(options: StoreTierOptions): StoreTier {
  return new S3Tier(options);
}

type Read = { type: "read"; block: SealedBlock } | { type: "damaged"; fault: BlockFault } | { type: "absent" | "failed" | "cancelled" };

class S3Tier implements StoreTier {
  readonly name = "store";
  readonly budgetBytes: number;
  readonly counters = freshCounters();
  readonly #bucket: S3Bucket;
  readonly #folder: string;
  readonly #maxKnown: number;
  readonly #residents: Residents;
  readonly #breaker: Breaker;
  readonly #ceiling: Ceiling;
  readonly #now: () => number;
  #listedAtMs = -Infinity;
  readonly #closing = new AbortController();
  /** Bytes of blocks on their way. */
  #comingBytes = 0;
  readonly #puts = new Map<EngineKey, Promise<PutOutcome>>();
  readonly #deletes = new Map<EngineKey, Promise<boolean>>();
  #refreshing: Promise<boolean> | null = null;
  #changed: (key: EngineKey, held: boolean) => void = () => {};

  constructor(options: StoreTierOptions) {
    this.budgetBytes = options.budgetBytes;
    this.#bucket = new S3Bucket(options, options.timeoutMs ?? 2_000);
    this.#folder = `${options.prefix}${options.prefix === "" ? "" : "/"}${options.kvSpace.slice(0, 16)}/`;
    this.#maxKnown = options.maxKnown ?? 200_000;
    this.#residents = new Residents(options);
    this.#ceiling = new Ceiling(options);
    this.#now = options.now;
    this.#breaker = new Breaker({ failures: FAILURES, pauseMs: PAUSE_MS, now: options.now });
  }

  get usedBytes(): number {
    return this.#residents.usedBytes;
  }

  get down(): boolean {
    return this.#breaker.open;
  }

  get pinnedBytes(): number {
    return this.#residents.pinnedBytes;
  }

  has(key: EngineKey): boolean {
    return this.#residents.has(key);
  }

  keys(): Iterable<EngineKey> {
    return this.#residents.keys();
  }

  onChange(listener: (key: EngineKey, held: boolean) => void): void {
    this.#changed = listener;
  }

  pin(key: EngineKey, untilMs: number): boolean {
    return this.#residents.pin(key, untilMs);
  }

  async get(key: EngineKey, signal?: AbortSignal, inspect?: Inspect): Promise<SealedBlock | null> {
    const ends = [this.#closing.signal, signal];
    let read = await this.#read(key, ends, inspect);
    if (read.type === "damaged") {
      this.counters.damaged[read.fault]++;
      read = await this.#read(key, ends, inspect);
      if (read.type === "damaged") await this.forget(key);
    }
    if (read.type === "absent") this.#listAgain(this.has(key));
    if (read.type === "absent" || read.type === "failed") this.#drop(key);
    if (read.type !== "read") return this.#missed();
    this.counters.hits++;
    const { parent, bytes } = read.block;
    if (this.has(key)) this.#residents.use(key);
    else if (this.usedBytes + this.#comingBytes + bytes.length <= this.budgetBytes) this.#learn(key, parent, bytes.length);
    return read.block;
  }

  async #read(key: EngineKey, ends: readonly (AbortSignal | undefined)[], inspect: Inspect | undefined): Promise<Read> {
    const limit = this.#residents.bytesOf(key) || MAX_BLOCK_BYTES;
    const answer = await this.#ask(() => this.#bucket.get(this.#folder + key, limit, ends));
    if (answer.type === "oversized") return { type: "damaged", fault: "length" };
    if (answer.type === "full") return { type: "failed" };
    if (answer.type !== "ok") return { type: answer.type };
    const { bytes } = answer;
    const header = inspectHeader(bytes, key);
    const fault = "fault" in header ? header.fault : (inspect?.(bytes) ?? null);
    if ("fault" in header || fault !== null) return { type: "damaged", fault: fault ?? "length" };
    return { type: "read", block: { key, parent: header.parent, bytes } };
  }

  #listAgain(wasKnown: boolean): void {
    if (!wasKnown || this.#now() - this.#listedAtMs < LIST_AGAIN_MS) return;
    void this.refresh();
  }

  #missed(): null {
    this.counters.misses++;
    return null;
  }

  put(block: SealedBlock): Promise<PutOutcome> {
    const underway = this.#puts.get(block.key);
    if (underway !== undefined) return underway.then((outcome) => (outcome === "stored" ? "present" : outcome));
    const put = this.#put(block).finally(() => this.#puts.delete(block.key));
    this.#puts.set(block.key, put);
    return put;
  }

  async #put({ key, parent, bytes }: SealedBlock): Promise<PutOutcome> {
    await this.#deletes.get(key);
    if (this.has(key)) {
      this.#residents.use(key);
      return "present";
    }
    this.#comingBytes += bytes.length;
    if (parent !== null) this.#residents.expect(parent);
    const outcome = await this.#place(key, bytes);
    this.#comingBytes -= bytes.length;
    if (parent !== null) this.#residents.unexpect(parent);
    if (outcome === "refused") this.counters.refused++;
    else this.#learn(key, parent, bytes.length);
    return outcome;
  }

  async #place(key: EngineKey, bytes: Uint8Array): Promise<PutOutcome> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (!(await this.#makeRoom())) return "refused";
      const outcome = await this.#upload(key, bytes);
      if (outcome !== "full") return outcome;
      this.counters.full++;
      this.#ceiling.full(this.usedBytes);
    }
    return "refused";
  }

  /** Asks first: another replica may have written it, and a block is much larger than a question. */
  async #upload(key: EngineKey, bytes: Uint8Array): Promise<PutOutcome | "full"> {
    const { signal } = this.#closing;
    const there = await this.#ask(() => this.#bucket.head(this.#folder + key, signal));
    if (there.type === "ok" && there.contentLength === bytes.length) return "present";
    if (there.type !== "ok" && there.type !== "absent") return "refused";
    const written = await this.#ask(() => this.#bucket.put(this.#folder + key, bytes, signal));
    if (written.type === "full") return "full";
    return written.type === "ok" ? "stored" : "refused";
  }

  /** For all that is on its way. A store that is down is asked for nothing. */
  async #makeRoom(): Promise<boolean> {
    const limit = this.#ceiling.bytes;
    while (this.usedBytes + this.#comingBytes > limit) {
      const victim = this.#comingBytes > limit || this.#breaker.open ? null : this.#residents.victim();
      if (victim === null) return false;
      this.counters.evicted++;
      this.#drop(victim);
      if (!(await this.#delete(victim))) return false;
    }
    return true;
  }

  async forget(key: EngineKey): Promise<void> {
    this.#drop(key);
    await this.#delete(key);
  }

  async #delete(key: EngineKey): Promise<boolean> {
    const done = this.#ask(() => this.#bucket.delete(this.#folder + key, this.#closing.signal)).then((answer) => answer.type === "ok");
    this.#deletes.set(key, done);
    try {
      return await done;
    } finally {
      if (this.#deletes.get(key) === done) this.#deletes.delete(key);
    }
  }

  /** Knows it from now on. */
  #learn(key: EngineKey, parent: EngineKey | null, bytes: number): void {
    const oldest = this.#residents.size >= this.#maxKnown ? this.#residents.victim() : null;
    if (oldest !== null) this.#drop(oldest);
    if (this.#residents.add({ key, parent, bytes })) this.#changed(key, true);
  }

  /** Knows it no longer; the object may still be there. */
  #drop(key: EngineKey): void {
    if (this.#residents.remove(key)) this.#changed(key, false);
  }

  async #ask<Answer extends { type: "ok" }>(call: () => Promise<Answer | S3Failure>): Promise<Answer | S3Failure> {
    if (!this.#breaker.allow()) return { type: "failed", message: "the store is down" };
    const answer = await call();
    if (answer.type === "failed") {
      this.counters.errors++;
      this.#breaker.failed();
    } else if (answer.type !== "cancelled" && this.#breaker.succeeded()) void this.refresh();
    return answer;
  }

  refresh(): Promise<boolean> {
    this.#refreshing ??= this.#list().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #list(): Promise<boolean> {
    this.#listedAtMs = this.#now();
    const gone = new Set(this.#residents.keys());
    const found: { key: EngineKey; bytes: number; modifiedAtMs: number }[] = [];
    let after = "";
    let bytes = 0;
    for (let more = true; more;) {
      const page = await this.#ask(() => this.#bucket.list(this.#folder, after, this.#closing.signal));
      if (page.type !== "ok") return false;
      for (const object of page.objects) {
        const key = object.name.slice(this.#folder.length);
        if (!isEngineKey(key) || !(object.bytes > 0)) continue;
        gone.delete(key);
        found.push({ ...object, key });
        bytes += object.bytes;
      }
      after = page.objects.at(-1)?.name ?? "";
      more = page.more && after !== "" && found.length < this.#maxKnown && bytes < this.budgetBytes;
      if (page.more && !more) gone.clear();
    }
    for (const key of gone) this.#drop(key);
    for (const { key, bytes: length } of found.toSorted((one, other) => one.modifiedAtMs - other.modifiedAtMs)) {
      if (this.#residents.size < this.#maxKnown && this.usedBytes + this.#comingBytes + length <= this.budgetBytes)
        this.#learn(key, null, length);
    }
    return true;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#puts.values(), ...this.#deletes.values(), this.#refreshing]);
  }
}
