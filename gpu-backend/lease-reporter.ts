/** Turns the events of one request's runs into the lease events that the pool gets. */
import { performance } from "node:perf_hooks";
import type { Running } from "../src/wire/control.ts";
import type { LeaseReport } from "../src/wire/lease-frame.ts";
import type { ChoiceEvent } from "./choices.ts";
import type { EngineEvent } from "./engine/engine.ts";
import type { Supplied } from "./kv-supply.ts";
import type { PrefillTimes } from "./prefill-pace.ts";

type Usage = Omit<Extract<EngineEvent, { type: "finished" }>, "type" | "message" | "stopText">;

interface Reported {
  id: string;
  attempt: number;
  choices: number;
  /** What came from elsewhere; null before it is known. */
  supplied: () => Supplied | null;
}

export class LeaseReporter {
  /** As the next heartbeat names it. */
  readonly running: Running;
  readonly #report: (report: LeaseReport) => void;
  readonly #supplied: () => Supplied | null;
  /** Choices that have not finished. */
  #open: number;
  #startedAtMs = 0;
  #restoreMs = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  /** Of the choices that have finished. */
  #usage: Usage | null = null;
  #settled = false;

  constructor({ id, attempt, choices, supplied }: Reported, report: (report: LeaseReport) => void) {
    this.running = { id, attempt, state: "started", outputTokens: 0 };
    this.#open = choices;
    this.#supplied = supplied;
    this.#report = report;
  }

  /** Not null once: when the first token is here. */
  see({ choice, event }: ChoiceEvent): PrefillTimes | null {
    const { id, attempt } = this.running;
    switch (event.type) {
      case "queued":
        if (choice === 0) this.#promptTokens = event.promptTokens;
        return null;
      case "started":
        if (choice > 0) return null;
        this.#startedAtMs = performance.now();
        this.#cachedTokens = event.cachedTokens;
        this.#restoreMs = event.restoreMs;
        this.#report({ event: "started", id, attempt });
        return null;
      case "delta":
        this.running.outputTokens += event.tokens;
        return this.running.state === "started" ? this.#firstToken() : null;
      case "finished":
        // Some engines know only at the end what they found cached.
        if (choice === 0 && event.reason !== "cancelled" && event.reason !== "error") this.#cachedTokens = event.cachedTokens;
        this.#usage = sum(this.#usage, event);
        this.#open -= 1;
        if (this.#open === 0) this.#settle({ ...this.#usage, promptTokens: this.#promptTokens, cachedTokens: this.#told });
        return null;
    }
  }

  /** The runs are over, whether or not their engine said so. */
  end(): void {
    if (this.#settled) return;
    const { outputTokens } = this.running;
    this.#settle({
      reason: this.#usage?.reason === "error" ? "error" : "cancelled",
      promptTokens: this.#promptTokens,
      cachedTokens: this.#told,
      outputTokens,
      prefillMs: 0,
      decodeMs: 0,
    });
  }

  /** Cached tokens as the client sees them. Tokens that another replica computed for this request are not cached ones. */
  get #told(): number {
    return this.#supplied()?.cachedElsewhere ?? this.#cachedTokens;
  }

  #firstToken(): PrefillTimes {
    this.running.state = "decoding";
    const { id, attempt } = this.running;
    const elapsedMs = performance.now() - this.#startedAtMs;
    const supplied = this.#supplied();
    const { loadedTokens = 0, transfer } = supplied ?? {};
    const restoreMs = this.#restoreMs;
    // Blocks that were fetched share the restore; what came from lower tiers is most of it where both are there.
    const loadMs = loadedTokens > 0 ? (supplied?.loadMs ?? 0) + restoreMs : 0;
    this.#report({
      event: "decoding",
      id,
      attempt,
      promptTokens: this.#promptTokens,
      cachedTokens: this.#told,
      prefillMs: elapsedMs + loadMs + (transfer?.ms ?? 0),
      ...(loadedTokens > 0 ? { loadedTokens, loadMs } : {}),
      ...(transfer === undefined ? {} : { transfer }),
    });
    return { computedTokens: this.#promptTokens - this.#cachedTokens, elapsedMs, restoreMs };
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
