/** The sender's side of transfers, as this replica runs it: its tickets, and the leases that its prefills for others are. */
import type { Running } from "../src/wire/control.ts";
import type { LeaseReport } from "../src/wire/lease-frame.ts";
import { forwardedDigest } from "../src/wire/admission.ts";
import type { Engine } from "./engine/engine.ts";
import { engineRequest, grammarOf } from "./engine-request.ts";
import { parseBody } from "./parse-body.ts";
import type { Prompts } from "./prompts.ts";
import { sha256 } from "./sha256.ts";
import type { BlockSource } from "./transfer/block-source.ts";
import { Sender as Transfers, type SendStep } from "./transfer/send.ts";
import { TicketGate } from "./transfer/ticket-gate.ts";

interface SenderParts {
  engine: Engine;
  prompts: Prompts;
  source: () => BlockSource | null;
  report: (lease: LeaseReport) => void;
}

/** A `Sender` that the pool knows of. */
export class Sender extends Transfers {
  readonly #gate: TicketGate;
  readonly #running: Map<string, Running>;

  constructor(parts: ConstructorParameters<typeof Transfers>[0], gate: TicketGate, running: Map<string, Running>) {
    super(parts);
    this.#gate = gate;
    this.#running = running;
  }

  begin(): void {
    this.#gate.begin();
  }

  welcome(admissionKey: string, poolNowMs: number, nowMs: number): void {
    this.#gate.welcome(admissionKey, poolNowMs, nowMs);
  }

  follow(poolNowMs: number, nowMs: number): void {
    this.#gate.follow(poolNowMs, nowMs);
  }

  /** Prefills for others under way, as the heartbeat names them. */
  running(): Running[] {
    return [...this.#running.values()];
  }
}

export function senderOf({ engine, prompts, source, report }: SenderParts): Sender {
  const gate = new TicketGate();
  const running = new Map<string, Running>();
  const lazySource: BlockSource = {
    load: async (wanted, signal) => (await source()?.load(wanted, signal)) ?? [],
    restoreOf: async (prepared, signal) => source()?.restoreOf(prepared, signal),
    keep: (prepared, prefilled, restore) => source()?.keep(prepared, prefilled, restore),
    pin: (keys, untilMs) => source()?.pin(keys, untilMs) ?? (() => undefined),
  };
  return new Sender(
    {
      exchange: engine.kv?.exchange ?? null,
      contextTokens: engine.card.contextTokens,
      gate,
      source: lazySource,
      async request(ask, body, ticket) {
        if (forwardedDigest(sha256, ask.historyBytes, sha256(body)) !== ticket.digest) return null;
        const parsed = await parseBody(body, { api: ask.api, historyBytes: ask.historyBytes, headers: () => undefined, counts: false });
        if (!parsed.ok) return null;
        const opened = prompts.open(parsed.request, ticket.salt, ticket.chainTip);
        if (!opened.ok) return null;
        const given = {
          id: `${ticket.id}/${ticket.attempt}`,
          prompt: opened.text,
          cuts: opened.cuts,
          salt: ticket.salt,
          contextTokens: engine.card.contextTokens,
        };
        return engineRequest(parsed.request, { ...given, grammar: grammarOf(parsed.request) });
      },
      watch: (step) => watch(step, running, report),
    },
    gate,
    running,
  );
}

/** A pull has no lease: it costs its sender no sequence. */
function watch(step: SendStep, running: Map<string, Running>, report: (lease: LeaseReport) => void): void {
  const { id, attempt, kind } = step.ticket;
  if (kind === "pull") return;
  const name = `${id}/${attempt}`;
  switch (step.event) {
    case "refused":
      return report({ event: "refused", id, attempt });
    case "started":
      running.set(name, { id, attempt, state: "started", outputTokens: 0 });
      return report({ event: "started", id, attempt });
    case "computed": {
      // What it says is named one by one: the blocks themselves are in the same object.
      const { promptTokens, cachedTokens, prefillMs } = step.prefilled;
      return report({ event: "decoding", id, attempt, promptTokens, cachedTokens, prefillMs });
    }
    case "ended": {
      running.delete(name);
      const reason = step.outcome === "sent" ? "stop" : step.outcome === "cut" ? "cancelled" : "error";
      const nothing = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, prefillMs: 0, decodeMs: 0 };
      report({ event: "settled", id, attempt, reason, ...nothing });
    }
  }
}
