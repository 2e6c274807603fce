/** The sender's side of a transfer: computes a prompt for another replica, or gives away blocks that it holds. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TransferError } from "../../src/wire/kv.ts";
import { KV_HEADER, KV_PATH, type PrefillAsk, streamContext } from "../../src/wire/kv-ask.ts";
import type { Ticket } from "../../src/wire/ticket.ts";
import type { WantedBlock } from "../blocks/tier-stack.ts";
import type { EngineKey, EngineRequest, KeyedBlock, KvExchange, Prefilled } from "../engine/engine.ts";
import { steadyNowMs } from "../steady-clock.ts";
import { type Asked, parseAsk, readAsk } from "./ask-body.ts";
import type { BlockSource } from "./block-source.ts";
import { FrameStream } from "./frame-stream.ts";
import { leading, sendPrefilled, space } from "./prefill-frames.ts";
import { PendingPrefills } from "./pending-prefills.ts";
import { SENDER_LIMITS, type SenderLimits } from "./sender-limits.ts";
import type { TicketGate } from "./ticket-gate.ts";

export type SenderExchange = Pick<KvExchange, "card" | "prepare" | "prefill" | "blockKeys" | "export">;

interface SenderParts {
  /** Null: the engine's blocks do not leave it, and whoever asks for them is refused. */
  exchange: SenderExchange | null;
  /** Longest prompt plus output that the engine takes, in tokens. */
  contextTokens: number;
  gate: TicketGate;
  /** The forwarded body as the engine would get it; null: it can't be read, or its chain is not the ticket's. */
  request(ask: PrefillAsk, body: Uint8Array, ticket: Ticket): Promise<EngineRequest | null>;
  source: BlockSource | null;
  /** Hears of each step, for leases and metrics: `refused`, or `started`, perhaps `computed`, and `ended`. */
  watch?: (step: SendStep) => void;
  limits?: Partial<SenderLimits>;
}

export type SendStep =
  | { event: "refused" | "started"; ticket: Ticket }
  | { event: "computed"; ticket: Ticket; prefilled: Pick<Prefilled, "promptTokens" | "cachedTokens" | "prefillMs"> }
  /** sent: all of it was handed to the network · cut: the receiver is gone, or nobody wants it any more. */
  | { event: "ended"; ticket: Ticket; outcome: "sent" | "cut" | TransferError };

interface Job {
  /** Kind, id and attempt of its ticket. */
  name: string;
  trial: string;
  ticket: Ticket;
  untilMs: number;
  stop: AbortController;
  stream: FrameStream;
  exchange: SenderExchange;
}

/** The reason of an abort after which nobody comes back. */
const UNWANTED = "unwanted";

type Kind = Ticket["kind"];
type Outcome = (SendStep & { event: "ended" })["outcome"];
const SLOTS = { prefill: "prefills", pull: "pulls" } as const;
type Computed = { ok: true; prefilled: Prefilled; keys: readonly EngineKey[] } | { ok: false; reason: TransferError };

export class Sender {
  readonly #parts: SenderParts;
  readonly #limits: SenderLimits;
  readonly #pending: PendingPrefills;
  readonly #active = { prefills: 0, pulls: 0 };
  /** Asks that are being read. */
  #asking = 0;
  readonly #jobs = new Map<string, { kind: Kind; stop: AbortController; stream: FrameStream }>();
  #pinned = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.#limits = { ...SENDER_LIMITS, ...parts.limits };
    this.#pending = new PendingPrefills(this.#limits.promisedBytes);
  }

  /** Zero everywhere when nothing is going on. */
  get load(): { prefills: number; pulls: number; promised: number; promisedBytes: number; pinned: number } {
    return { ...this.#active, promised: this.#pending.count, promisedBytes: this.#pending.usedBytes, pinned: this.#pinned };
  }

  /** False: not a path of ours. Never rejects for what a receiver does. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const path = (request.url ?? "").split("?", 1)[0];
    if (request.method !== "POST") return false;
    if (path === KV_PATH.prefill) await this.#serve("prefill", request, response);
    else if (path === KV_PATH.blocks) await this.#serve("pull", request, response);
    else return false;
    return true;
  }

  /** The pool's word that nobody wants it any more. */
  cancel(id: string, attempt: number): void {
    for (const kind of ["prefill", "pull"]) {
      const name = `${kind}/${id}/${attempt}`;
      this.#jobs.get(name)?.stop.abort(UNWANTED);
      this.#pending.drop(name);
    }
  }

  close(): void {
    for (const { stop } of this.#jobs.values()) stop.abort(UNWANTED);
    this.#pending.clear();
  }

  async #serve(kind: Kind, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = headerText(request, KV_HEADER.ticket) ?? "";
    const trial = headerText(request, KV_HEADER.trial) ?? "";
    const spent = this.#parts.gate.spend(text, kind, trial, steadyNowMs());
    if (!spent.ok) return refuse(response, 403, `The ticket is not accepted: ${spent.why}.`);
    const { ticket, untilMs } = spent;
    const stop = new AbortController();
    const part = (): void => stop.abort();
    response.once("close", part);
    try {
      // Whoever is slow to ask takes no place from those who have asked.
      if (this.#asking >= this.#limits.asks) return this.#turnAway(ticket, response);
      this.#asking += 1;
      const read = await readAsk(request, headerText(request, KV_HEADER.askBytes), stop.signal).finally(() => (this.#asking -= 1));
      const asked = read === null ? null : parseAsk(kind, read.ask, read.body);
      if (asked === null) {
        this.#parts.watch?.({ event: "refused", ticket });
        return refuse(response, 400, "The ask is not understood.");
      }
      if (!this.#hasPlace(kind)) return this.#turnAway(ticket, response);
      await this.#run({ name: `${kind}/${ticket.id}/${ticket.attempt}`, trial, ticket, untilMs, stop }, asked, response, text);
    } finally {
      response.off("close", part);
    }
  }

  #turnAway(ticket: Ticket, response: ServerResponse): void {
    this.#parts.watch?.({ event: "refused", ticket });
    refuse(response, 503, "Too many transfers are under way.");
  }

  /** A receiver that takes nothing is left for one that asks now. */
  #hasPlace(kind: Kind): boolean {
    if (this.#active[SLOTS[kind]] < this.#limits[SLOTS[kind]]) return true;
    const stuck = [...this.#jobs.values()]
      .filter((job) => job.kind === kind && job.stream.stuckMs >= this.#limits.yieldMs)
      .toSorted((one, other) => other.stream.stuckMs - one.stream.stuckMs)[0];
    stuck?.stop.abort();
    return stuck !== undefined;
  }

  async #run(spent: Omit<Job, "stream" | "exchange">, asked: Asked, response: ServerResponse, context: string): Promise<void> {
    const { name, trial, ticket, stop } = spent;
    const slots = SLOTS[asked.kind];
    // A second trial means that the receiver has given up the first, however alive its socket looks here.
    this.#jobs.get(name)?.stop.abort();
    const stream = new FrameStream(response, streamContext(context, Number(trial)), this.#limits);
    stop.signal.addEventListener("abort", stream.close.bind(stream));
    const listed = { kind: asked.kind, stop, stream };
    this.#jobs.set(name, listed);
    this.#active[slots] += 1;
    this.#parts.watch?.({ event: "started", ticket });
    let outcome: Outcome = "failed";
    try {
      outcome = await this.#serveAsk({ ...spent, stream, exchange: this.#parts.exchange }, asked);
    } finally {
      this.#active[slots] -= 1;
      stream.close();
      if (this.#jobs.get(name) === listed) this.#jobs.delete(name);
      this.#parts.watch?.({ event: "ended", ticket, outcome });
    }
  }

  async #serveAsk({ exchange, ...rest }: Omit<Job, "exchange"> & Pick<SenderParts, "exchange">, asked: Asked): Promise<Outcome> {
    if (exchange === null) {
      await rest.stream.end({ type: "error", reason: "refused" });
      return "refused";
    }
    const job: Job = { ...rest, exchange };
    return asked.kind === "pull" ? this.#give(job, asked) : this.#compute(job, asked.ask, asked.body);
  }

  async #compute(job: Job, ask: PrefillAsk, body: Uint8Array): Promise<Outcome> {
    const { stream, ticket } = job;
    const computed = await this.#prefilled(job, ask, body);
    if (computed.ok) this.#parts.watch?.({ event: "computed", ticket, prefilled: computed.prefilled });
    if (job.stop.signal.aborted) {
      if (computed.ok) this.#keep(job, computed.prefilled);
      return "cut";
    }
    if (!computed.ok) {
      await stream.end({ type: "error", reason: computed.reason });
      return computed.reason;
    }
    const { prefilled, keys } = computed;
    const blocks = leading(keys.slice(ask.have), prefilled.blocks);
    const whole = ask.have + blocks.length === keys.length;
    const bytes = blocks.reduce((sum, { data }) => sum + data.byteLength, prefilled.tail.data.byteLength);
    const ends = this.#endsWithin(job.stop, bytes);
    const sent = await sendPrefilled(job.exchange.card, stream, ask, { prefilled, blocks, whole });
    clearTimeout(ends);
    if (sent) return "sent";
    this.#keep(job, prefilled);
    return "cut";
  }

  #keep({ name, untilMs, stop }: Job, prefilled: Prefilled): void {
    if (stop.signal.reason !== UNWANTED) this.#pending.keep(name, prefilled, untilMs - steadyNowMs());
  }

  async #prefilled({ name, trial, ticket, stop, stream, exchange }: Job, ask: PrefillAsk, body: Uint8Array): Promise<Computed> {
    const { source } = this.#parts;
    if (ask.kvSpace !== exchange.card.kvSpace) return { ok: false, reason: "mismatch" };
    const asked = await this.#parts.request(ask, body, ticket);
    if (asked === null) return { ok: false, reason: "mismatch" };
    // The first trial's run may still be ending.
    const request = { ...asked, id: `${name}/${trial}` };
    const prepared = await exchange.prepare(request);
    if (prepared.type === "refused") return { ok: false, reason: refusal(prepared.reason) };
    const { blockKeys: keys, tokens } = prepared;
    const same = tokens.length === ask.promptTokens && (keys.at(-1) ?? null) === ask.tip && ask.have <= keys.length;
    if (!same) return { ok: false, reason: "mismatch" };
    const promised = this.#pending.take(name);
    if (promised !== null) return { ok: true, prefilled: promised, keys };
    const restore = await source?.restoreOf(prepared, stop.signal);
    const progressed = (count: number): void => stream.progressed(count);
    const result = await exchange.prefill({ ...request, tokens }, new Set(keys.slice(ask.have)), stop.signal, { restore, progressed });
    if (result.type !== "prefilled") return { ok: false, reason: result.type === "refused" ? refusal(result.reason) : "failed" };
    source?.keep(prepared, result, restore);
    return { ok: true, prefilled: result, keys };
  }

  async #give(job: Job, { ask: { kvSpace, from, to }, tokens }: Asked & { kind: "pull" }): Promise<Outcome> {
    const { stream, stop, ticket, untilMs, exchange } = job;
    const { source, contextTokens } = this.#parts;
    const { card } = exchange;
    const { blockTokens } = card;
    const fits = kvSpace === card.kvSpace && tokens.length === to * blockTokens && tokens.length <= contextTokens;
    const keys = fits ? await exchange.blockKeys(tokens, ticket.salt) : [];
    if (keys.length !== to) {
      await stream.end({ type: "error", reason: fits ? "failed" : "mismatch" });
      return fits ? "failed" : "mismatch";
    }
    const wanted = keys.map((key, at): WantedBlock => ({ key, tokens: tokens.subarray(at * blockTokens, (at + 1) * blockTokens) }));
    const release = source?.pin(keys, untilMs);
    if (release !== undefined) this.#pinned += 1;
    const ends = this.#endsWithin(stop, (to - from) * blockTokens * card.kvTokenBytes);
    try {
      return await this.#giveBlocks(job, wanted.slice(from));
    } finally {
      clearTimeout(ends);
      release?.();
      if (release !== undefined) this.#pinned -= 1;
    }
  }

  #endsWithin(stop: AbortController, bytes: number): NodeJS.Timeout {
    return setTimeout(() => stop.abort(), this.#limits.giveMs + bytes / this.#limits.leastBytesPerMs);
  }

  async #giveBlocks({ stream, stop, exchange }: Job, wanted: readonly WantedBlock[]): Promise<Outcome> {
    const { card } = exchange;
    await stream.send({ type: "head", ...space(card), promptTokens: 0, first: 0, blocks: wanted.length, cachedTokens: 0 });
    const blockBytes = card.blockTokens * card.kvTokenBytes;
    const batch = Math.max(1, Math.floor(this.#limits.batchBytes / blockBytes));
    let sent = 0;
    for (let at = 0; at < wanted.length && sent === at; at += batch) {
      for (const block of await this.#held(exchange, wanted.slice(at, at + batch), stop.signal)) {
        if (!(await stream.send({ type: "block", index: sent, ...block }))) return "cut";
        sent += 1;
      }
    }
    if (sent > 0) return (await stream.end({ type: "end", blocks: sent, tail: false, dataBytes: sent * blockBytes })) ? "sent" : "cut";
    await stream.end({ type: "error", reason: "gone" });
    return "gone";
  }

  /** From the device, else from the tiers; up to the first that is in neither. */
  async #held(exchange: SenderExchange, wanted: readonly WantedBlock[], signal: AbortSignal): Promise<KeyedBlock[]> {
    const keys = wanted.map(({ key }) => key);
    const found = await exchange.export(keys);
    const here = new Set(found.map(({ key }) => key));
    const missing = wanted.filter(({ key }) => !here.has(key));
    const { source } = this.#parts;
    if (missing.length === 0 || source === null || signal.aborted) return leading(keys, found);
    return leading(keys, [...found, ...(await source.load(missing, signal))]);
  }
}

function refusal(reason: string): TransferError {
  return reason === "busy" || reason === "unavailable" ? "busy" : "refused";
}

function headerText(request: IncomingMessage, name: string): string | undefined {
  return [request.headers[name]].flat()[0];
}

function refuse(response: ServerResponse, status: number, message: string): void {
  if (response.destroyed || response.headersSent) return;
  const body = JSON.stringify({ error: { message } });
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body), connection: "close" });
  response.end(body);
}
