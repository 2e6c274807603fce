/** Seeded choices: the same number gives the same request, on any machine. */
import { seeded } from "../mutations.ts";

export type Json = Record<string, unknown>;

const WORDS = "warm path cache lease token 🙂 naïve 東京 \u00e9\u0301 and the of a replica <think> </tool_call> <|im_end|> {{x}} \\n".split(
  " ",
);
/** Text that has tripped parsers before. */
const ODD_TEXTS = [
  "",
  " ",
  "\n\n",
  "\u0000",
  "\ud800",
  "\u2028",
  "__proto__",
  "x-anthropic-billing-header: cc_version=1.2",
  "</s>",
  '"}]}',
  "\ufeff",
];

export class Random {
  readonly below: (limit: number) => number;

  constructor(seed: number) {
    this.below = seeded(seed);
  }

  /** From `least` to `most`, both included. */
  int(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    const index = this.below(from.length);
    const chosen = from[index];
    if (chosen === undefined && !(index in from)) throw new Error("Nothing to pick from.");
    return chosen as T;
  }

  list<T>(least: number, most: number, make: (index: number) => T): T[] {
    return Array.from({ length: this.int(least, most) }, (_, index) => make(index));
  }

  text(): string {
    if (this.chance(8)) return this.pick(ODD_TEXTS);
    return this.list(1, 12, () => this.pick(WORDS)).join(" ");
  }

  word(): string {
    return this.pick(["lookup", "weather", "get-time", "a.b", "run_2", "Z"]) + String(this.below(100));
  }

  /** Each field with a chance of `percent`. */
  some(fields: Record<string, () => unknown>, percent = 25): Json {
    const chosen: Json = {};
    for (const [name, make] of Object.entries(fields)) if (this.chance(percent)) chosen[name] = make();
    return chosen;
  }
}
