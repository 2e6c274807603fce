/** What has come of one transfer, held against what the receiver knows itself: its engine's card and its own tokens. */
import { type Frame, FrameReader, type FirstLogprobs, mostFrameBytes } from "../../src/wire/kv.ts";
import type { FirstToken, KeyedBlock, KvCard, PreparedKv, Restore } from "../engine/engine.ts";
import { isFiniteKv } from "../engine/kv-numbers.ts";
import { sha256 } from "./digest.ts";

/** Why a transfer gave less than was asked. */
export type Shortfall =
  /** No connection. */
  | "unreachable"
  /** The sender is full. */
  | "busy"
  /** Not a byte for too long. */
  | "stalled"
  /** The stream ended early. */
  | "cut"
  /** Damaged, or not what was asked for: nothing of it is used. */
  | "lied"
  /** A number of the KV is not finite: nothing of it is used. */
  | "not_finite"
  /** The sender said no, or its engine failed. */
  | "refused"
  /** The sender no longer holds the blocks. */
  | "gone"
  | "timeout"
  | "cancelled";

interface Expected {
  card: KvCard;
  prepared: Pick<PreparedKv, "tokens" | "blockKeys">;
  /** Indices of the blocks that are asked for: from … to - 1. */
  from: number;
  to: number;
  /** The rest of the prompt and the first token too. */
  tail: boolean;
}

type Tail = NonNullable<Restore["tail"]>;

export class Reception {
  readonly blocks: KeyedBlock[] = [];
  /** As they came, retries and pulses included. */
  bytes = 0;
  /** Of a prompt computed elsewhere, what was not computed for it there. */
  cachedTokens = 0;
  /** Of a prompt computed elsewhere: how much of it is, by its sender's word. */
  computedTokens = 0;
  readonly #expected: Expected;
  #reader: FrameReader;
  /** Of this trial: index of the next block; null before the head. */
  #next: number | null = null;
  #before = 0;
  #tail: Tail["payload"] | null = null;
  #first: FirstToken | null = null;
  #ended = false;

  constructor(expected: Expected, context: string) {
    this.#expected = expected;
    this.#reader = this.#open(context);
  }

  /** A new stream continues after the blocks that came. */
  again(context: string): void {
    this.#reader = this.#open(context);
    this.#next = null;
    this.#before = this.blocks.length;
    this.#tail = null;
    this.#first = null;
  }

  get next(): number {
    return this.#expected.from + this.blocks.length;
  }

  /** The sender has said all that it will say. */
  get ended(): boolean {
    return this.#ended;
  }

  get tail(): Tail | null {
    return this.#ended && this.#tail !== null && this.#first !== null ? { payload: this.#tail, first: this.#first } : null;
  }

  /** Null: all is well so far. */
  push(chunk: Uint8Array): Shortfall | null {
    this.bytes += chunk.byteLength;
    const { frames, bad } = this.#reader.push(chunk);
    for (const frame of frames) {
      const wrong = this.#take(frame);
      if (wrong !== null) return wrong;
    }
    return bad === null ? null : "lied";
  }

  #open(context: string): FrameReader {
    const { card } = this.#expected;
    return new FrameReader(sha256, context, mostFrameBytes(card.blockTokens, card.kvTokenBytes));
  }

  #take(frame: Frame): Shortfall | null {
    switch (frame.type) {
      case "pulse":
        if (frame.tokens > this.#expected.prepared.tokens.length) return "lied";
        this.computedTokens = Math.max(this.computedTokens, frame.tokens);
        return null;
      case "head":
        return this.#head(frame);
      case "block":
        return this.#block(frame);
      case "tail":
        return this.#takeTail(frame);
      case "first":
        if (this.#tail === null || this.#first !== null) return "lied";
        this.#first = { token: frame.token, bytes: frame.bytes, logprobs: frame.logprobs satisfies FirstLogprobs };
        return null;
      case "end":
        return this.#end(frame);
      case "error":
        if (frame.reason === "busy" || frame.reason === "gone") return frame.reason;
        return "refused";
    }
  }

  #head(head: Frame & { type: "head" }): Shortfall | null {
    const { card, prepared, to, tail } = this.#expected;
    const fits =
      this.#next === null &&
      head.kvSpace === card.kvSpace &&
      head.blockTokens === card.blockTokens &&
      head.tokenBytes === card.kvTokenBytes &&
      // Pulled blocks are counted from the first key asked.
      head.first === (tail ? this.next : 0) &&
      head.promptTokens === (tail ? prepared.tokens.length : 0) &&
      head.cachedTokens <= head.promptTokens &&
      head.blocks <= to - this.next;
    // A second trial finds what the first one computed.
    if (fits && this.#before === 0) this.cachedTokens = head.cachedTokens;
    if (fits) this.#next = this.next;
    if (fits) this.computedTokens = head.promptTokens;
    return fits ? null : "lied";
  }

  #block({ index, key, tokens, data }: Frame & { type: "block" }): Shortfall | null {
    const { card, prepared, to, tail } = this.#expected;
    const at = this.next;
    if (this.#next === null || at >= to || this.#tail !== null) return "lied";
    const from = at * card.blockTokens;
    const own = prepared.blockKeys[at];
    const numbered = index === (tail ? at : this.blocks.length - this.#before);
    const fits = numbered && key === own && sameTokens(tokens, prepared.tokens.subarray(from, from + card.blockTokens));
    if (!fits || own === undefined || data.byteLength !== tokens.length * card.kvTokenBytes) return "lied";
    if (!isFiniteKv(data, tokens.length, card.kvNumbers)) return "not_finite";
    this.blocks.push({ key: own, tokens, data });
    return null;
  }

  #takeTail({ tokens, data }: Frame & { type: "tail" }): Shortfall | null {
    const { card, prepared, to, tail } = this.#expected;
    const own = prepared.tokens.subarray(prepared.blockKeys.length * card.blockTokens);
    const due = tail && this.#next !== null && this.#tail === null && this.next === to;
    if (!due || !sameTokens(tokens, own) || data.byteLength !== tokens.length * card.kvTokenBytes) return "lied";
    if (!isFiniteKv(data, tokens.length, card.kvNumbers)) return "not_finite";
    this.#tail = { tokens, data };
    return null;
  }

  #end(end: Frame & { type: "end" }): Shortfall | null {
    if (this.#next === null) return "lied";
    const came = this.blocks.slice(this.#before);
    const dataBytes = came.reduce((sum, { data }) => sum + data.byteLength, this.#tail?.data.byteLength ?? 0);
    const tail = this.#tail !== null;
    const fits = end.blocks === came.length && end.dataBytes === dataBytes && end.tail === tail && tail === (this.#first !== null);
    if (!fits) return "lied";
    this.#ended = true;
    return null;
  }
}

function sameTokens(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((token, i) => token === b[i]);
}
