/** Frames onto one HTTP response: pulses while there is nothing to say, waits while the receiver is slow, gives up when it stands still. */
import type { ServerResponse } from "node:http";
import { type Frame, FrameWriter } from "../../src/wire/kv.ts";
import { sha256 } from "./digest.ts";

export interface StreamTimes {
  /** Well below the receiver's deadline. */
  pulseMs: number;
  /** A receiver that takes nothing for so long is given up. */
  drainMs: number;
}

export class FrameStream {
  readonly #response: ServerResponse;
  readonly #writer: FrameWriter;
  readonly #times: StreamTimes;
  readonly #pulse: NodeJS.Timeout;
  #computedTokens = 0;
  /** When the receiver last began not to take what is there; null: it takes all. */
  #waitsSinceMs: number | null = null;

  constructor(response: ServerResponse, context: string, times: StreamTimes) {
    this.#response = response;
    this.#writer = new FrameWriter(sha256, context);
    this.#times = times;
    response.writeHead(200, { "content-type": "application/octet-stream" });
    response.flushHeaders();
    this.#pulse = setInterval(() => {
      if (!response.writableNeedDrain && !response.writableEnded) this.#write({ type: "pulse", tokens: this.#computedTokens });
    }, times.pulseMs);
  }

  /** What the next pulses say is computed. */
  progressed(tokens: number): void {
    this.#computedTokens = Math.max(this.#computedTokens, tokens);
  }

  /** For how long the receiver has taken nothing, though something is there. */
  get stuckMs(): number {
    return this.#waitsSinceMs === null ? 0 : performance.now() - this.#waitsSinceMs;
  }

  /** False once the receiver is gone: nothing more is worth sending. */
  async send(frame: Frame): Promise<boolean> {
    if (this.#response.destroyed) return false;
    return this.#write(frame) || this.#when("drain");
  }

  /** True when all of it was handed to the network. */
  async end(frame: Frame): Promise<boolean> {
    clearInterval(this.#pulse);
    if (!(await this.send(frame))) return false;
    const finished = this.#when("finish");
    this.#response.end();
    return finished;
  }

  /** Idempotent. A stream without its end is cut. */
  close(): void {
    clearInterval(this.#pulse);
    if (!this.#response.writableFinished) this.#response.destroy();
  }

  #write(frame: Frame): boolean {
    if (this.#response.destroyed) return false;
    let room = true;
    for (const part of this.#writer.write(frame)) room = this.#response.write(part);
    return room;
  }

  #when(event: "drain" | "finish"): Promise<boolean> {
    const response = this.#response;
    this.#waitsSinceMs = performance.now();
    return new Promise((resolve) => {
      const settle = (reached: boolean): void => {
        this.#waitsSinceMs = null;
        clearTimeout(timer);
        response.off(event, reach);
        response.off("close", part);
        if (!reached) response.destroy();
        resolve(reached);
      };
      const reach = (): void => settle(true);
      const part = (): void => settle(false);
      const timer = setTimeout(part, this.#times.drainMs);
      response.on(event, reach);
      response.on("close", part);
      if (response.destroyed) part();
    });
  }
}
