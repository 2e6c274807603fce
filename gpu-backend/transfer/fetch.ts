/**
 * The receiver's side of a transfer. Whatever the sender does, the answer comes within the bounds, and is blocks of the receiver's own
 * prompt or a reason; the receiver computes what it did not get.
 */
import { Agent, type Dispatcher, request } from "undici";
import { type BlocksAsk, KV_HEADER, KV_PATH, type PrefillAsk, streamContext } from "../../src/wire/kv-ask.ts";
import type { EngineCard, KeyedBlock, Prepared, Restore } from "../engine/engine.ts";
import { Reception, type Shortfall } from "./receive.ts";

export interface TransferTimes {
  /** Without a byte; a sender that computes sends pulses. */
  stallMs: number;
  /** All of it, with the second trial. */
  totalMs: number;
}

export const TRANSFER_TIMES: TransferTimes = { stallMs: 2_000, totalMs: 30_000 };

interface Link {
  /** The sender's: Ticket.from. */
  url: string;
  ticket: string;
  card: Pick<EngineCard, "kvSpace" | "blockTokens" | "kvTokenBytes">;
  prepared: Pick<Prepared, "tokens" | "blockKeys">;
  signal: AbortSignal;
  times?: Partial<TransferTimes>;
  dispatcher: Dispatcher;
}

export interface PrefillFetch extends Link {
  /** Leading blocks that the receiver has and keeps until it has submitted. */
  have: number;
  api: PrefillAsk["api"];
  historyBytes: number;
  /** As the edge forwarded it, history first. */
  body: Uint8Array;
}

export interface BlocksPull extends Link {
  /** Block indices of the prompt: from … to - 1. */
  from: number;
  to: number;
}

/**
 * ok: `restore` is good to submit, as far as it goes. `shortfall` says why it ends before the tail (a pull before its last block); null:
 * nothing is missing.
 */
export type Fetched =
  | {
      ok: true;
      restore: Restore;
      blocks: KeyedBlock[];
      /** Of a prefill: prompt tokens that its sender did not compute for it. */
      cachedTokens: number;
      bytes: number;
      trials: number;
      shortfall: Shortfall | null;
    }
  | { ok: false; why: Shortfall; bytes: number; trials: number };

/** One a replica: keeps a few connections to its peers warm. */
export function transferAgent(): Agent {
  return new Agent({
    connections: 16,
    pipelining: 1,
    keepAliveTimeout: 10_000,
    connect: { timeout: 2_000 },
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

export async function fetchPrefill(options: PrefillFetch): Promise<Fetched> {
  const { card, prepared, have } = options;
  const to = prepared.blockKeys.length;
  return carry(options, { from: have, to, tail: true }, (next) => {
    const ask: PrefillAsk = {
      kvSpace: card.kvSpace,
      promptTokens: prepared.tokens.length,
      tip: prepared.blockKeys.at(-1) ?? null,
      have: next,
      api: options.api,
      historyBytes: options.historyBytes,
    };
    return { path: KV_PATH.prefill, ask, body: options.body };
  });
}

export async function pullBlocks(options: BlocksPull): Promise<Fetched> {
  const { card, prepared, from, to } = options;
  return carry(options, { from, to, tail: false }, (next) => {
    const ask: BlocksAsk = { kvSpace: card.kvSpace, keys: prepared.blockKeys.slice(next, to) };
    return { path: KV_PATH.blocks, ask, body: new Uint8Array(0) };
  });
}

type Ask = (next: number) => { path: string; ask: PrefillAsk | BlocksAsk; body: Uint8Array };

async function carry(link: Link, range: { from: number; to: number; tail: boolean }, ask: Ask): Promise<Fetched> {
  const times = { ...TRANSFER_TIMES, ...link.times };
  const untilMs = performance.now() + times.totalMs;
  const reception = new Reception({ card: link.card, prepared: link.prepared, ...range }, streamContext(link.ticket, 1));
  let trials = 1;
  let why = await tryOnce({ link, reception, times, untilMs, trial: 1, ...ask(reception.next) });
  // Only what moved at all is worth a second trial.
  if (why === "cut" && reception.blocks.length > 0) {
    trials = 2;
    reception.again(streamContext(link.ticket, 2));
    // A pull that was cut behind its last block asks for nothing.
    const done = !range.tail && reception.next === range.to;
    if (done) why = null;
    else why = await tryOnce({ link, reception, times, untilMs, trial: 2, ...ask(reception.next) });
  }
  const { blocks, bytes, tail } = reception;
  if (why === "lied" || why === "cancelled" || (blocks.length === 0 && tail === null)) {
    return { ok: false, why: why ?? "gone", bytes, trials };
  }
  const all = range.tail ? tail !== null : reception.next === range.to;
  return {
    ok: true,
    restore: { from: range.from, blocks, tail },
    blocks,
    cachedTokens: reception.cachedTokens,
    bytes,
    trials,
    shortfall: all ? null : (why ?? "gone"),
  };
}

interface Trial extends ReturnType<Ask> {
  link: Link;
  reception: Reception;
  times: TransferTimes;
  untilMs: number;
  trial: number;
}

/** Null: the sender has said all. */
async function tryOnce({ link, reception, times, untilMs, trial, path, ask, body }: Trial): Promise<Shortfall | null> {
  const stop = new AbortController();
  let why: Shortfall | null = null;
  let answered = false;
  const end = (reason: Shortfall): void => {
    why ??= reason;
    stop.abort();
  };
  const cancel = (): void => end("cancelled");
  if (link.signal.aborted) return "cancelled";
  link.signal.addEventListener("abort", cancel);
  const stall = setTimeout(() => end("stalled"), times.stallMs);
  const total = setTimeout(() => end("timeout"), Math.max(0, untilMs - performance.now()));
  try {
    const json = Buffer.from(JSON.stringify(ask));
    const answer = await request(new URL(path, link.url), {
      method: "POST",
      headers: {
        "content-type": "application/octet-stream",
        [KV_HEADER.ticket]: link.ticket,
        [KV_HEADER.trial]: String(trial),
        [KV_HEADER.askBytes]: String(json.byteLength),
      },
      body: Buffer.concat([json, body]),
      signal: stop.signal,
      dispatcher: link.dispatcher,
    });
    answered = true;
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      return answer.statusCode === 503 ? "busy" : "refused";
    }
    // Leaving the loop early destroys the body and its socket, which is how the sender learns of it.
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      stall.refresh();
      const wrong = reception.push(chunk);
      if (wrong !== null) return wrong;
    }
    return reception.ended ? null : "cut";
  } catch {
    if (reception.ended && why !== "cancelled") return null;
    return why ?? (answered ? "cut" : "unreachable");
  } finally {
    clearTimeout(stall);
    clearTimeout(total);
    link.signal.removeEventListener("abort", cancel);
  }
}
