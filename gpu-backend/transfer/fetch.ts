/**
 * The receiver's side of a transfer. Whatever the sender does, the answer comes within the bounds, and is blocks of the receiver's own
 * prompt or a reason; the receiver computes what it did not get.
 */
import { Agent, type Dispatcher, request } from "undici";
import { type BlocksAsk, encodeTokens, KV_HEADER, KV_PATH, type PrefillAsk, streamContext } from "../../src/wire/kv-ask.ts";
import type { KeyedBlock, KvCard, PreparedKv, Restore } from "../engine/engine.ts";
import { type Expectation, TransferDeadline } from "./transfer-deadline.ts";
import { Reception, type Shortfall } from "./receive.ts";

/** Without a byte; a sender that computes sends pulses. How long all of it may take: transfer-deadline.ts. */
const STALL_MS = 2_000;

interface Link {
  /** The sender's: Ticket.from. */
  url: string;
  ticket: string;
  card: KvCard;
  prepared: Pick<PreparedKv, "tokens" | "blockKeys">;
  signal: AbortSignal;
  /** What computing the same here would take. */
  expected: Expectation;
  stallMs?: number;
  dispatcher: Dispatcher;
}

interface PrefillFetch extends Link {
  /** Leading blocks that the receiver has and keeps until it has submitted. */
  have: number;
  api: PrefillAsk["api"];
  historyBytes: number;
  /** As the edge forwarded it, history first. */
  body: Uint8Array;
}

interface BlocksPull extends Link {
  /** Block indices of the prompt: from … to - 1. */
  from: number;
  to: number;
}

/**
 * ok: `restore` is good to import, as far as it goes. `shortfall` says why it ends before the tail (a pull before its last block); null:
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
  const deadline = new TransferDeadline({
    kind: "prefill",
    tokens: prepared.tokens.length - have * card.blockTokens,
    ...options.expected,
    nowMs: performance.now(),
  });
  // Computed first, then sent.
  const computed = ({ computedTokens, blocks }: Reception): number => computedTokens + (blocks.length - have) * card.blockTokens;
  return carry(options, { from: have, to, tail: true, deadline, done: computed }, (next) => {
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
  const { blockTokens, kvSpace } = card;
  const deadline = new TransferDeadline({ kind: "pull", tokens: (to - from) * blockTokens, ...options.expected, nowMs: performance.now() });
  const came = (reception: Reception): number => reception.blocks.length * blockTokens;
  const body = encodeTokens(prepared.tokens.subarray(0, to * blockTokens));
  return carry(options, { from, to, tail: false, deadline, done: came }, (next) => {
    const ask: BlocksAsk = { kvSpace, from: next, to };
    return { path: KV_PATH.blocks, ask, body };
  });
}

type Ask = (next: number) => { path: string; ask: PrefillAsk | BlocksAsk; body: Uint8Array };

interface Course {
  from: number;
  to: number;
  tail: boolean;
  deadline: TransferDeadline;
  /** Tokens asked for that are computed or have come. */
  done: (reception: Reception) => number;
}

async function carry(link: Link, course: Course, ask: Ask): Promise<Fetched> {
  const { from, to, tail: withTail } = course;
  const reception = new Reception({ card: link.card, prepared: link.prepared, from, to, tail: withTail }, streamContext(link.ticket, 1));
  let trials = 1;
  let why = await tryOnce({ link, reception, course, trial: 1, ...ask(reception.next) });
  // Only what moved at all is worth a second trial.
  if (why === "cut" && reception.blocks.length > 0) {
    trials = 2;
    reception.again(streamContext(link.ticket, 2));
    // A pull that was cut behind its last block asks for nothing.
    const done = !withTail && reception.next === to;
    if (done) why = null;
    else why = await tryOnce({ link, reception, course, trial: 2, ...ask(reception.next) });
  }
  const { blocks, bytes, tail } = reception;
  if (why === "lied" || why === "not_finite" || why === "cancelled" || (blocks.length === 0 && tail === null)) {
    return { ok: false, why: why ?? "gone", bytes, trials };
  }
  const all = withTail ? tail !== null : reception.next === to;
  return {
    ok: true,
    restore: { from, blocks, tail },
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
  course: Course;
  trial: number;
}

/** Null: the sender has said all. */
async function tryOnce({ link, reception, course: { deadline, done }, trial, path, ask, body }: Trial): Promise<Shortfall | null> {
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
  const stall = setTimeout(() => end("stalled"), link.stallMs ?? STALL_MS);
  let total: NodeJS.Timeout | undefined;
  const wait = (): void => {
    clearTimeout(total);
    total = setTimeout(() => end("timeout"), Math.max(0, deadline.endMs - performance.now()));
  };
  wait();
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
      const before = deadline.endMs;
      deadline.progressed(done(reception), performance.now());
      if (deadline.endMs !== before) wait();
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
