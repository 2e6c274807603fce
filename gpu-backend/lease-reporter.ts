/** Turns one run's events into what the pool is told of its lease. */
import { performance } from "node:perf_hooks";
import type { LeaseReport, Running } from "../src/wire/control.ts";
import type { EngineEvent } from "./engine/engine.ts";

export class LeaseReporter {
  /** As the next heartbeat names it. */
  readonly running: Running;
  readonly #report: (report: LeaseReport) => void;
  #startedAtMs = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  #settled = false;

  constructor(id: string, attempt: number, report: (report: LeaseReport) => void) {
    this.running = { id, attempt, state: "started", outputTokens: 0 };
    this.#report = report;
  }

  see(event: EngineEvent): void {
    const { id, attempt } = this.running;
    switch (event.type) {
      case "queued":
        this.#promptTokens = event.promptTokens;
        return;
      case "started":
        this.#startedAtMs = performance.now();
        this.#cachedTokens = event.cachedTokens;
        return this.#report({ event: "started", id, attempt });
      case "delta":
        this.running.outputTokens += event.tokens;
        if (this.running.state === "started") this.#firstToken();
        return;
      case "finished":
        this.#settle(event);
    }
  }

  /** The run is over, whether or not its engine said so. */
  end(): void {
    if (this.#settled) return;
    const { outputTokens } = this.running;
    this.#settle({
      reason: "cancelled",
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
      outputTokens,
      prefillMs: 0,
      decodeMs: 0,
    });
  }

  #firstToken(): void {
    this.running.state = "decoding";
    const { id, attempt } = this.running;
    const prefillMs = performance.now() - this.#startedAtMs;
    this.#report({ event: "decoding", id, attempt, promptTokens: this.#promptTokens, cachedTokens: this.#cachedTokens, prefillMs });
  }

  #settle(usage: Omit<Extract<EngineEvent, { type: "finished" }>, "type" | "message">): void {
    this.#settled = true;
    const { id, attempt } = this.running;
    const { reason, promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs } = usage;
    this.#report({ event: "settled", id, attempt, reason, promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs });
  }
}
