/** What a replica holds: a device that evicts what was used longest ago, to a host tier where there is one, and entries that only fill the index. */
import { TIER } from "../../../src/residency/tiers.ts";
import { SEGMENT_TOKENS } from "./history.ts";
import type { Prompt } from "./prompts.ts";

export interface Entry {
  tokens: number;
  tierBits: number;
}

export class Holdings {
  readonly #device = new Map<bigint, Entry>();
  readonly #host = new Map<bigint, Entry>();
  readonly #filling = new Map<bigint, Entry>();
  /** How many of those who run stand on it. */
  readonly #pins = new Map<bigint, number>();
  readonly #deviceSegments: number;
  readonly #hostSegments: number;
  readonly #changed: (hash: bigint) => void;

  constructor(kvTokens: number, hostTokens: number, changed: (hash: bigint) => void) {
    this.#deviceSegments = Math.floor(kvTokens / SEGMENT_TOKENS);
    this.#hostSegments = Math.floor(hostTokens / SEGMENT_TOKENS);
    this.#changed = changed;
  }

  get size(): number {
    return this.#device.size + this.#host.size + this.#filling.size;
  }

  get pinnedSegments(): number {
    return this.#pins.size;
  }

  get(hash: bigint): Entry | undefined {
    return this.#device.get(hash) ?? this.#host.get(hash) ?? this.#filling.get(hash);
  }

  *entries(): Iterable<[bigint, Entry]> {
    yield* this.#device;
    yield* this.#host;
    yield* this.#filling;
  }

  clear(): void {
    for (const held of [this.#device, this.#host, this.#filling, this.#pins]) held.clear();
  }

  /** Leading tokens on its device, and with its host. */
  overlap({ chain, tokens }: Prompt): { deviceTokens: number; tokens: number } {
    let device = 0;
    while (device < chain.length && this.#device.has(chain[device] ?? 0n)) device++;
    let all = device;
    while (all < chain.length && (this.#device.has(chain[all] ?? 0n) || this.#host.has(chain[all] ?? 0n))) all++;
    const at = (segments: number): number => Math.min(tokens, segments * SEGMENT_TOKENS);
    return { deviceTokens: at(device), tokens: at(all) };
  }

  /** All of a prompt lies on the device now, and stays there until it is let go. Whole segments only: others end in a block that is not full. */
  pin({ chain, tokens }: Prompt): void {
    const whole = Math.floor(tokens / SEGMENT_TOKENS);
    for (let at = 0; at < whole; at++) {
      const hash = chain[at] ?? 0n;
      this.#pins.set(hash, (this.#pins.get(hash) ?? 0) + 1);
      const known = this.#device.get(hash);
      this.#device.delete(hash);
      this.#host.delete(hash);
      this.#device.set(hash, { tokens: (at + 1) * SEGMENT_TOKENS, tierBits: TIER.device });
      if (known === undefined) this.#changed(hash);
    }
    this.evict(this.#device.size - this.#deviceSegments);
  }

  unpin({ chain, tokens }: Prompt): void {
    const whole = Math.floor(tokens / SEGMENT_TOKENS);
    for (let at = 0; at < whole; at++) {
      const hash = chain[at] ?? 0n;
      const pins = (this.#pins.get(hash) ?? 0) - 1;
      if (pins > 0) this.#pins.set(hash, pins);
      else this.#pins.delete(hash);
    }
  }

  /** So many segments leave the device, those used longest ago first. */
  evict(segments: number): void {
    let left = segments;
    for (const [hash, { tokens }] of this.#device) {
      if (left <= 0) break;
      if (this.#pins.has(hash)) continue;
      this.#device.delete(hash);
      left--;
      if (this.#hostSegments > 0) this.#host.set(hash, { tokens, tierBits: TIER.host });
      this.#changed(hash);
    }
    for (const [hash] of this.#host) {
      if (this.#host.size <= this.#hostSegments) break;
      this.#host.delete(hash);
      this.#changed(hash);
    }
  }

  fill(hashes: BigUint64Array, from: number, sameDepth: boolean): void {
    for (const [at, hash] of hashes.entries()) {
      this.#filling.set(hash, { tokens: sameDepth ? SEGMENT_TOKENS : (from + at + 1) * SEGMENT_TOKENS, tierBits: TIER.device });
      this.#changed(hash);
    }
  }

  empty(hashes: BigUint64Array): void {
    for (const hash of hashes) if (this.#filling.delete(hash)) this.#changed(hash);
  }
}
