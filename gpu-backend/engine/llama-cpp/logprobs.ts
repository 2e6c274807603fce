/** Logprobs of the model's own distribution, before bias, penalties, temperature and grammar. They are sent with their text. */
import type { TokenLogprob } from "../engine.ts";
import type { Addon, LogitIndex, Sampler } from "./binding.ts";
import type { Vocabulary } from "./vocabulary.ts";

export class LogprobReader {
  readonly #addon: Addon;
  readonly #vocabulary: Vocabulary;
  #greedy: Sampler | undefined;

  constructor(addon: Addon, vocabulary: Vocabulary) {
    this.#addon = addon;
    this.#vocabulary = vocabulary;
  }

  /** Samples the same logits again, greedily and with nothing applied; the run's own sampler is not touched. */
  async read(at: LogitIndex, chosen: number, top: number): Promise<TokenLogprob> {
    const greedy = (this.#greedy ??= this.#makeGreedy());
    // The greedy choice is the largest logit, of which the weight is a multiple.
    const sampled = await this.#addon.context.sampleToken(at, greedy, false, false, [[chosen], false, false, true, top], true);
    const [largest, , , pairs = [], weight = 1] = sampled;
    const logits = new Map<number, number>();
    for (let i = 0; i + 1 < pairs.length; i += 2) logits.set(pairs[i] ?? -1, pairs[i + 1] ?? -Infinity);
    const base = (logits.get(largest) ?? 0) + Math.log(weight);
    const spelled = (token: number) => ({ ...this.#spell(token), logprob: Math.min(0, (logits.get(token) ?? -Infinity) - base) });
    const ranked = [...logits.entries()].toSorted((a, b) => b[1] - a[1]).slice(0, top);
    return { ...spelled(chosen), top: ranked.map(([token]) => spelled(token)) };
  }

  #makeGreedy(): Sampler {
    const sampler = this.#addon.makeSampler();
    sampler.applyConfig({ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 });
    return sampler;
  }

  #spell(token: number): { token: string; bytes: readonly number[] } {
    const bytes = this.#vocabulary.bytes(token);
    return { token: bytes.toString("utf8"), bytes: [...bytes] };
  }
}

/** The bytes end inside a character. */
function endsInsideCharacter(bytes: readonly number[]): boolean {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back;
    if (byte < 0x80) return false;
  }
  return false;
}

interface Waiting {
  logprob: TokenLogprob;
  /** Where the token's text begins and ends in all of the output, in UTF-16 units. */
  start: number;
  end: number;
}

/** Holds a token's logprob until the text that the token completes is sent. */
export class LogprobQueue {
  #waiting: Waiting[] = [];
  #lastBytes: number[] = [];
  #end = 0;

  /** `decoded`: length of all text so far, this token's included, also the part that is held back. */
  push(logprob: TokenLogprob, bytes: Buffer, decoded: number): void {
    if (bytes.length === 0) return;
    this.#lastBytes = [...this.#lastBytes, ...bytes].slice(-3);
    // Inside a character, the token ends where that character will.
    const end = endsInsideCharacter(this.#lastBytes) ? decoded + 1 : decoded;
    this.#waiting.push({ logprob, start: this.#end, end });
    this.#end = decoded;
  }

  /** Those whose text lies in the first `told` units; after the last text also one that was cut there. */
  take(told: number, last: boolean): TokenLogprob[] {
    const ready = this.#waiting.filter(({ start, end }) => (last ? start < told : end <= told));
    this.#waiting = last ? [] : this.#waiting.slice(ready.length);
    return ready.map(({ logprob }) => logprob);
  }
}
