/** The sender's side of a transfer: computes a prompt for another replica, or gives away blocks that it holds. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TransferError } from "../../src/wire/kv.ts";
import { BlocksAsk, KV_HEADER, KV_PATH, PrefillAsk, streamContext } from "../../src/wire/kv-ask.ts";
import type { Ticket } from "../../src/wire/ticket.ts";
import type { Engine, EngineKey, EngineRequest, KeyedBlock, Prefilled } from "../engine/engine.ts";
import { steadyNowMs } from "../steady-clock.ts";
import { readAsk } from "./ask-body.ts";
import { FrameStream, type StreamTimes } from "./frame-stream.ts";
import { Promised } from "./promised.ts";
import type { TicketGate } from "./ticket-gate.ts";

/** Blocks below the device. */
export interface BlockSource {
  /** Those that are there, whole and checked. */
  load(keys: readonly EngineKey[], signal: AbortSignal): Promise<KeyedBlock[]>;
  /** Keeps what is there from eviction; the function lets it go before that time. */
  pin(keys: readonly EngineKey[], untilMs: number): () => void;
}

export interface SenderLimits extends StreamTimes {
  prefills: number;
  pulls: number;
  /** For what was computed and not fetched whole. */
  promisedBytes: number;
  /** Read from device or tiers at once when blocks are pulled. */
  batchBytes: number;
}

export const SENDER_LIMITS: SenderLimits = {
  prefills: 4,
  pulls: 4,
  promisedBytes: 256 * 1024 * 1024,
  batchBytes: 64 * 1024 * 1024,
  pulseMs: 500,
  drainMs: 10_000,
};

export interface SenderParts {
  engine: Pick<Engine, "card" | "prepare" | "prefill" | "exportBlocks">;
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
  readonly #promised: Promised;
  readonly #active = { prefills: 0, pulls: 0 };
  readonly #jobs = new Map<string, AbortController>();
  #pinned = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.#limits = { ...SENDER_LIMITS, ...parts.limits };
    this.#promised = new Promised(this.#limits.promisedBytes);
  }

  /** Zero everywhere when nothing is going on. */
  get load(): { prefills: number; pulls: number; promised: number; promisedBytes: number; pinned: number } {
    return { ...this.#active, promised: this.#promised.count, promisedBytes: this.#promised.usedBytes, pinned: this.#pinned };
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
      this.#jobs.get(name)?.abort(UNWANTED);
      this.#promised.drop(name);
    }
  }

  close(): void {
    for (const stop of this.#jobs.values()) stop.abort(UNWANTED);
    this.#promised.clear();
  }

  async #serve(kind: Kind, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = headerText(request, KV_HEADER.ticket) ?? "";
    const trial = headerText(request, KV_HEADER.trial) ?? "";
    const spent = this.#parts.gate.spend(text, kind, trial, steadyNowMs());
    if (!spent.ok) return refuse(response, 403, `The ticket is not accepted: ${spent.why}.`);
    const { ticket, untilMs } = spent;
    const slots = SLOTS[kind];
    if (this.#active[slots] >= this.#limits[slots]) {
      this.#parts.watch?.({ event: "refused", ticket });
      return refuse(response, 503, "Too many transfers are under way.");
    }
    const name = `${kind}/${ticket.id}/${ticket.attempt}`;
    // A second trial means that the receiver has given up the first, however alive its socket looks here.
    this.#jobs.get(name)?.abort();
    const stop = new AbortController();
    const part = (): void => stop.abort();
    response.once("close", part);
    this.#jobs.set(name, stop);
    this.#active[slots] += 1;
    this.#parts.watch?.({ event: "started", ticket });
    let outcome: Outcome = "failed";
    let stream: FrameStream | null = null;
    try {
      const read = await readAsk(request, headerText(request, KV_HEADER.askBytes), stop.signal);
      const ask = kind === "prefill" ? PrefillAsk.safeParse(read?.ask) : BlocksAsk.safeParse(read?.ask);
      if (read === null || !ask.success) {
        outcome = stop.signal.aborted ? "cut" : "mismatch";
        return refuse(response, 400, "The ask is not understood.");
      }
      stream = new FrameStream(response, streamContext(text, Number(trial)), this.#limits);
      stop.signal.addEventListener("abort", stream.close.bind(stream));
      const job: Job = { name, trial, ticket, untilMs, stop, stream };
      outcome = await ("keys" in ask.data ? this.#give(job, ask.data) : this.#compute(job, ask.data, read.body));
    } finally {
      this.#active[slots] -= 1;
      response.off("close", part);
      stream?.close();
      if (this.#jobs.get(name) === stop) this.#jobs.delete(name);
      this.#parts.watch?.({ event: "ended", ticket, outcome });
    }
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
    if (await sendPrefilled(this.#parts.engine.card, stream, ask, { prefilled, blocks, whole })) return "sent";
    this.#keep(job, prefilled);
    return "cut";
  }

  #keep({ name, untilMs, stop }: Job, prefilled: Prefilled): void {
    if (stop.signal.reason !== UNWANTED) this.#promised.keep(name, prefilled, untilMs - steadyNowMs());
  }

  async #prefilled({ name, trial, ticket, stop }: Job, ask: PrefillAsk, body: Uint8Array): Promise<Computed> {
    const { engine } = this.#parts;
    if (ask.kvSpace !== engine.card.kvSpace) return { ok: false, reason: "mismatch" };
    const asked = await this.#parts.request(ask, body, ticket);
    if (asked === null) return { ok: false, reason: "mismatch" };
    // The first trial's run may still be ending.
    const request = { ...asked, id: `${name}/${trial}` };
    const prepared = await engine.prepare(request);
    if (prepared.type === "refused") return { ok: false, reason: refusal(prepared.reason) };
    const { blockKeys: keys, tokens } = prepared;
    const same = tokens.length === ask.promptTokens && (keys.at(-1) ?? null) === ask.tip && ask.have <= keys.length;
    if (!same) return { ok: false, reason: "mismatch" };
    const promised = this.#promised.take(name);
    if (promised !== null) return { ok: true, prefilled: promised, keys };
    const result = await engine.prefill(request, new Set(keys.slice(ask.have)), stop.signal);
    if (result.type === "prefilled") return { ok: true, prefilled: result, keys };
    return { ok: false, reason: result.type === "refused" ? refusal(result.reason) : "failed" };
  }

  async #give({ stream, stop, untilMs }: Job, ask: BlocksAsk): Promise<Outcome> {
    const { engine, source } = this.#parts;
    const { card } = engine;
    if (ask.kvSpace !== card.kvSpace) {
      await stream.end({ type: "error", reason: "mismatch" });
      return "mismatch";
    }
    const keys = ask.keys as EngineKey[];
    const release = source?.pin(keys, untilMs);
    if (release !== undefined) this.#pinned += 1;
    try {
      await stream.send({ type: "head", ...space(card), promptTokens: 0, first: 0, blocks: keys.length, cachedTokens: 0 });
      const batch = Math.max(1, Math.floor(this.#limits.batchBytes / (card.blockTokens * card.kvTokenBytes)));
      let sent = 0;
      for (let at = 0; at < keys.length && sent === at; at += batch) {
        for (const block of await this.#held(keys.slice(at, at + batch), stop.signal)) {
          if (!(await stream.send({ type: "block", index: sent, ...block }))) return "cut";
          sent += 1;
        }
      }
      const dataBytes = sent * card.blockTokens * card.kvTokenBytes;
      if (sent > 0) return (await stream.end({ type: "end", blocks: sent, tail: false, dataBytes })) ? "sent" : "cut";
      await stream.end({ type: "error", reason: "gone" });
      return "gone";
    } finally {
      release?.();
      if (release !== undefined) this.#pinned -= 1;
    }
  }

  /** From the device, else from the tiers; up to the first that is in neither. */
  async #held(keys: readonly EngineKey[], signal: AbortSignal): Promise<KeyedBlock[]> {
    const found = await this.#parts.engine.exportBlocks(keys);
    const here = new Set(found.map(({ key }) => key));
    const missing = keys.filter((key) => !here.has(key));
    const { source } = this.#parts;
    if (missing.length === 0 || source === null || signal.aborted) return leading(keys, found);
    return leading(keys, [...found, ...(await source.load(missing, signal))]);
  }
}

/** In the order of their chain, up to the first that is missing: what follows a gap can't be used. */
function leading(keys: readonly EngineKey[], found: readonly KeyedBlock[]): KeyedBlock[] {
  const byKey = new Map(found.map((block) => [block.key, block]));
  const blocks: KeyedBlock[] = [];
  for (const key of keys) {
    const block = byKey.get(key);
    if (block === undefined) break;
    blocks.push(block);
  }
  return blocks;
}

function space(card: Engine["card"]): { kvSpace: string; blockTokens: number; tokenBytes: number } {
  return { kvSpace: card.kvSpace, blockTokens: card.blockTokens, tokenBytes: card.kvTokenBytes };
}

/** False: the receiver is gone before all was handed to the network. */
async function sendPrefilled(
  card: Engine["card"],
  stream: FrameStream,
  ask: PrefillAsk,
  { prefilled, blocks, whole }: { prefilled: Prefilled; blocks: readonly KeyedBlock[]; whole: boolean },
): Promise<boolean> {
  const { first, tail, promptTokens, cachedTokens } = prefilled;
  await stream.send({ type: "head", ...space(card), promptTokens, first: ask.have, blocks: blocks.length, cachedTokens });
  let dataBytes = 0;
  for (const [i, block] of blocks.entries()) {
    if (!(await stream.send({ type: "block", index: ask.have + i, ...block }))) return false;
    dataBytes += block.data.byteLength;
  }
  if (whole) {
    await stream.send({ type: "tail", ...tail });
    await stream.send({ type: "first", token: first.token, bytes: first.bytes, logprobs: copyOf(first.logprobs) });
    dataBytes += tail.data.byteLength;
  }
  return stream.end({ type: "end", blocks: blocks.length, tail: whole, dataBytes });
}

/** Readonly lists as the wire's. */
function copyOf(logprobs: Prefilled["first"]["logprobs"]) {
  if (logprobs === null) return null;
  return { ...logprobs, bytes: [...logprobs.bytes], top: logprobs.top.map((other) => ({ ...other, bytes: [...other.bytes] })) };
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
