/** Follows the events of one vLLM engine over its two sockets, and keeps asking until nothing is missing. What to do is said by event-feed.ts. */
import type * as ZeroMq from "zeromq";
import type { KvEventCounts } from "../residency-state.ts";
import { EventFeed, type FeedStep } from "./event-feed.ts";
import { readMessage, replayRequest } from "./event-frames.ts";
import type { EventSource } from "./event-sources.ts";
import { MAX_PAYLOAD_BYTES } from "./kv-events.ts";
import type { EventsSeen } from "./residency.ts";

export type { ZeroMq };

/** Time, so that tests can move it. */
export interface Timers {
  /** Calls `work` once, after `ms`; the result takes it back. */
  after(ms: number, work: () => void): () => void;
}

/** A replay that is silent for so long has failed: the engine looks for requests every 100 ms, and its buffer may take some seconds. */
export const REPLAY_SILENCE_MS = 3_000;
/** Whether a batch was missed, of an engine that may be idle. */
export const CHECK_MS = 10_000;
/** Where a check shows every time that something is missing it is made ever less often. */
const LONGEST_CHECK_MS = 600_000;
/** In a row: the live socket alone does not show what was lost. */
const MAX_FAILED_CHECKS = 3;
/** A publisher that is gone without a word. */
const HEARTBEAT_MS = 2_000;
const HEARTBEAT_TIMEOUT_MS = 6_000;
/** Messages that wait in the socket. */
const MAX_RECEIVED = 10_000;

interface ReaderOptions {
  zmq: typeof ZeroMq;
  source: EventSource;
  timers: Timers;
  /** In order. */
  onSteps(steps: readonly FeedStep[]): void;
}

export class EventReader {
  readonly #options: ReaderOptions;
  readonly #feed = new EventFeed();
  readonly #live: ZeroMq.Subscriber;
  #replay: ZeroMq.Dealer | null = null;
  #silence: () => void = () => undefined;
  #check: () => void = () => undefined;
  #checkMs = CHECK_MS;
  #failedChecks = 0;
  #isConnected = false;
  #isClosed = false;

  /** Throws where the endpoint can't be used. */
  static async open(options: ReaderOptions): Promise<EventReader> {
    const reader = new EventReader(options);
    const { live, isBound, topic } = options.source;
    try {
      reader.#live.subscribe(topic);
      if (isBound) await reader.#live.bind(live);
      else reader.#live.connect(live);
    } catch (cause) {
      reader.close();
      throw cause;
    }
    void reader.#read();
    return reader;
  }

  private constructor(options: ReaderOptions) {
    this.#options = options;
    this.#live = new options.zmq.Subscriber({
      ...socketOptions(options.source.live),
      receiveHighWaterMark: MAX_RECEIVED,
      heartbeatInterval: HEARTBEAT_MS,
      heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    });
    this.#live.events.on("handshake", () => this.#connected());
    this.#live.events.on("disconnect", () => this.#disconnected());
  }

  get seen(): EventsSeen {
    const { state, gap } = this.#feed;
    return { state, gap, isConnected: this.#isConnected && this.#failedChecks < MAX_FAILED_CHECKS };
  }

  get counts(): Readonly<KvEventCounts> {
    return this.#feed.counts;
  }

  /** The engine was seen to go. */
  restarted(): void {
    if (!this.#isClosed) this.#do(this.#feed.restarted());
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#check();
    this.#endReplay();
    this.#live.close();
  }

  async #read(): Promise<void> {
    try {
      for await (const frames of this.#live) {
        if (this.#isClosed) return;
        this.#do(this.#feed.live(readMessage(frames)));
      }
    } catch {
      // The socket was closed.
    }
  }

  #connected(): void {
    if (this.#isClosed) return;
    this.#isConnected = true;
    this.#failedChecks = 0;
    this.#checkMs = CHECK_MS;
    this.#do(this.#feed.begin());
  }

  /** Whatever is sent from now on until it is back is lost. */
  #disconnected(): void {
    this.#isConnected = false;
  }

  #do(steps: readonly FeedStep[]): void {
    const further: FeedStep[] = [];
    for (const step of steps) if (step.type === "replay") further.push(...this.#ask(step.from));
    this.#options.onSteps(steps);
    if (further.length > 0) this.#do(further);
  }

  /** Returns the next step at once when no replay can be asked for. */
  #ask(from: number): FeedStep[] {
    this.#endReplay();
    const { zmq, source } = this.#options;
    if (source.replay === null) return this.#feed.replayFailed();
    this.#check();
    const socket = new zmq.Dealer({ ...socketOptions(source.replay), sendTimeout: REPLAY_SILENCE_MS });
    this.#replay = socket;
    this.#listenFor(socket);
    void this.#readReplay(socket, source.replay, from);
    return [];
  }

  async #readReplay(socket: ZeroMq.Dealer, endpoint: string, from: number): Promise<void> {
    try {
      socket.connect(endpoint);
      await socket.send(replayRequest(from).map((frame) => Buffer.from(frame)));
      for await (const frames of socket) {
        if (this.#replay !== socket) return;
        this.#listenFor(socket);
        const message = readMessage(frames);
        const steps = this.#feed.replayed(message);
        if (message.type === "end") this.#replayed();
        this.#do(steps);
      }
    } catch {
      // It was closed, or its endpoint can't be used: its time runs out.
    }
  }

  #listenFor(socket: ZeroMq.Dealer): void {
    this.#silence();
    this.#silence = this.#options.timers.after(REPLAY_SILENCE_MS, () => {
      if (this.#replay !== socket) return;
      this.#endReplay();
      this.#failedChecks += 1;
      this.#checkLater();
      this.#do(this.#feed.replayFailed());
    });
  }

  #replayed(): void {
    this.#endReplay();
    this.#failedChecks = 0;
    this.#checkLater();
  }

  #checkLater(): void {
    this.#check();
    this.#checkMs = this.#feed.gap === null ? CHECK_MS : Math.min(LONGEST_CHECK_MS, this.#checkMs * 2);
    this.#check = this.#options.timers.after(this.#checkMs, () => this.#do(this.#feed.check()));
  }

  #endReplay(): void {
    this.#silence();
    this.#silence = () => undefined;
    const socket = this.#replay;
    this.#replay = null;
    socket?.close();
  }
}

function socketOptions(endpoint: string) {
  return {
    linger: 0,
    // A longer message is no batch, and ends its connection.
    maxMessageSize: MAX_PAYLOAD_BYTES + 1_024,
    reconnectInterval: 100,
    reconnectMaxInterval: 2_000,
    ipv6: endpoint.includes("["),
  };
}
