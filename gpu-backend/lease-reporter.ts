/** Turns the events of one request's runs into what the pool is told of its lease. */
import { performance } from "node:perf_hooks";
import type { LeaseReport, Running } from "../src/wire/control.ts";
import type { ChoiceEvent } from "./choices.ts";
import type { EngineEvent } from "./engine/engine.ts";

type Usage = Omit<Extract<EngineEvent, { type: "finished" }>, "type" | "message" | "stopText">;

export class LeaseReporter {
  /** As the next heartbeat names it. */
  readonly running: Running;
  readonly #report: (report: LeaseReport) => void;
  /** Choices that have not finished. */
  #open: number;
  #startedAtMs = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  /** Of the choices that have finished. */
  #usage: Usage | null = null;
  #settled = false;

  constructor(id: string, attempt: number, choices: number, report: (report: LeaseReport) => void) {
    this.running = { id, attempt, state: "started", outputTokens: 0 };
    this.#open = choices;
    this.#report = report;
  }

  see({ choice, event }: ChoiceEvent): void {
    const { id, attempt } = this.running;
    switch (event.type) {
      case "queued":
        if (choice === 0) this.#promptTokens = event.promptTokens;
        return;
      case "started":
        if (choice > 0) return;
        this.#startedAtMs = performance.now();
        this.#cachedTokens = event.cachedTokens;
        return this.#report({ event: "started", id, attempt });
      case "delta":
        this.running.outputTokens += event.tokens;
        if (this.running.state === "started") this.#firstToken();
        return;
      case "finished":
        this.#usage = sum(this.#usage, event);
        this.#open -= 1;
        if (this.#open === 0) this.#settle({ ...this.#usage, promptTokens: this.#promptTokens, cachedTokens: this.#cachedTokens });
    }
  }

  /** The runs are over, whether or not their engine said so. */
  end(): void {
    if (this.#settled) return;
    const { outputTokens } = this.running;
    this.#settle({
      reason: this.#usage?.reason === "error" ? "error" : "cancelled",
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

  #settle(usage: Usage): void {
    this.#settled = true;
    const { id, attempt } = this.running;
    const { reason, promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs } = usage;
    this.#report({ event: "settled", id, attempt, reason, promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs });
  }
}

const WORST = ["stop", "length", "cancelled", "error"] as const;

/** Prefill is the first choice's: the others find its blocks. Choices run side by side. */
function sum(sofar: Usage | null, event: Usage): Usage {
  if (sofar === null) return event;
  return {
    ...sofar,
    reason: WORST[Math.max(WORST.indexOf(sofar.reason), WORST.indexOf(event.reason))] ?? "error",
    outputTokens: sofar.outputTokens + event.outputTokens,
    decodeMs: Math.max(sofar.decodeMs, event.decodeMs),
  };
}
