/** The sockets of a vLLM, played: batches go out live and are kept to be sent again, over real zeromq. */
import * as zmq from "zeromq";
import type { EventSource } from "../../gpu-backend/engine/vllm/event-sources.ts";
import { pack, type Packable } from "./vllm-recorded.ts";

const TOPIC = Buffer.from("kv@127.0.0.1@demo");
const END = Buffer.alloc(8, 0xff);

export interface PublisherOptions {
  /** Batches that are kept to be sent again. */
  buffer?: number;
  /** As versions before 0.26 reply: without the topic. */
  repliesWithoutTopic?: boolean;
  /** Default: any that are free. */
  endpoints?: { live: string; replay: string };
}

export class VllmPublisher {
  readonly #options: PublisherOptions;
  /** As addresses; of the first life, and all others. */
  #endpoints: { live: string; replay: string } | null = null;
  #live: zmq.Publisher | null = null;
  #router: zmq.Router | null = null;
  #kept: { seq: number; payload: Buffer }[] = [];
  #seq = 0;
  /** Numbers from which batches were asked for again. */
  readonly asked: number[] = [];
  /** Requests for a replay get no reply while it is set. */
  isMute = false;

  constructor(options: PublisherOptions = {}) {
    this.#options = options;
    this.#endpoints = options.endpoints ?? null;
  }

  get source(): EventSource {
    if (this.#endpoints === null) throw new Error("it is not open");
    return { rank: 0, ...this.#endpoints, isBound: false, topic: "kv@" };
  }

  /** On the ports that it had. */
  async open(): Promise<void> {
    this.#live = new zmq.Publisher({ linger: 0 });
    this.#router = new zmq.Router({ linger: 0 });
    await this.#live.bind(this.#endpoints?.live ?? "tcp://127.0.0.1:*");
    await this.#router.bind(this.#endpoints?.replay ?? "tcp://127.0.0.1:*");
    this.#endpoints ??= { live: this.#live.lastEndpoint ?? "", replay: this.#router.lastEndpoint ?? "" };
    void this.#serve(this.#router);
  }

  /** The engine lives on, and nobody reaches its sockets. */
  cut(): void {
    this.#live?.close();
    this.#router?.close();
    this.#live = null;
    this.#router = null;
  }

  /** The engine dies and comes back, empty; the next batch is its first. */
  begin(): void {
    this.#seq = 0;
    this.#kept = [];
  }

  /** @param fate lost: it is kept, and nobody hears it live. */
  async send(payload: Buffer, fate: "sent" | "lost" = "sent"): Promise<void> {
    const seq = this.#seq++;
    this.#kept.push({ seq, payload });
    if (this.#kept.length > (this.#options.buffer ?? 10_000)) this.#kept.shift();
    if (fate === "sent") await this.raw([TOPIC, numberOf(seq), payload]);
  }

  async events(events: readonly Packable[], fate: "sent" | "lost" = "sent"): Promise<void> {
    await this.send(pack([1_000 + performance.now() / 1_000, events, 0]), fate);
  }

  /** Frames as they are. */
  async raw(frames: readonly Buffer[]): Promise<void> {
    await this.#live?.send([...frames]);
  }

  /** Batches that were sent live twice, and out of their order. */
  async again(seq: number): Promise<void> {
    const kept = this.#kept.find((each) => each.seq === seq);
    if (kept !== undefined) await this.raw([TOPIC, numberOf(seq), kept.payload]);
  }

  async #serve(router: zmq.Router): Promise<void> {
    try {
      for await (const [client, empty, from] of router) {
        if (client === undefined || empty === undefined || from === undefined) continue;
        this.asked.push(Number(from.readBigUInt64BE()));
        if (this.isMute) continue;
        const topic = this.#options.repliesWithoutTopic === true ? [] : [TOPIC];
        for (const { seq, payload } of this.#kept) {
          if (BigInt(seq) >= from.readBigUInt64BE()) await router.send([client, Buffer.alloc(0), ...topic, numberOf(seq), payload]);
        }
        await router.send([client, Buffer.alloc(0), ...(topic.length === 0 ? [] : [Buffer.alloc(0)]), END, Buffer.alloc(0)]);
      }
    } catch {
      // It was cut.
    }
  }
}

function numberOf(seq: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(seq));
  return bytes;
}
