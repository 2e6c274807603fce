/** What the mock fleet is asked: short chats, conversations that share fronts, long prompts that come once. Seeded. */
import { seededRandom, wordsOf } from "../conversations.ts";
import { MOCK_MODEL } from "./truth.ts";

export type Kind = "short" | "turn" | "long" | "huge";

export interface Ask {
  kind: Kind;
  body: string;
  stream: boolean;
}

export interface Phase {
  /** From this share of all requests on. */
  from: number;
  name: string;
  /** Requests a second. */
  rate: number;
  /** Weights. */
  mix: Readonly<Record<Kind, number>>;
}

const MIXED: Omit<Phase, "from"> = { name: "mixed", rate: 150, mix: { short: 50, turn: 44.5, long: 5, huge: 0.5 } };
/** What a pool learns of one length alone must not spoil what it knows of another. */
export const PHASES: readonly Phase[] = [
  { ...MIXED, from: 0 },
  { from: 0.3, name: "short only", rate: 200, mix: { short: 1, turn: 0, long: 0, huge: 0 } },
  { ...MIXED, from: 0.36 },
  { from: 0.6, name: "long only", rate: 25, mix: { short: 0, turn: 0, long: 9, huge: 1 } },
  { ...MIXED, from: 0.61 },
];
export const CALM: Phase = { ...MIXED, from: 0, name: "calm", rate: 75 };

const GROUPS = 12;
const CONVERSATIONS = 60;
const TURNS = 10;
const SYSTEM_WORDS = 300;
const QUESTION_WORDS = 40;
const ANSWER = "word ".repeat(16);
const BYTES: Readonly<Record<"long" | "huge", number>> = { long: 7_500, huge: 17_000 };
const TOKENS = { least: 4, more: 12 };

interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

export class Prompts {
  readonly #random: () => number;
  readonly #systems: string[];
  readonly #conversations: Message[][];
  #number = 0;

  constructor(seed: number) {
    const random = (this.#random = seededRandom(seed));
    this.#systems = Array.from({ length: GROUPS }, () => wordsOf(random, SYSTEM_WORDS));
    this.#conversations = Array.from({ length: CONVERSATIONS }, () => this.#begun());
  }

  next(mix: Phase["mix"]): Ask {
    const kind = this.#kind(mix);
    const stream = this.#random() < 0.5;
    const maxTokens = TOKENS.least + Math.floor(this.#random() * TOKENS.more);
    const body = JSON.stringify({ model: MOCK_MODEL, stream, max_tokens: maxTokens, messages: this.#messages(kind) });
    return { kind, body, stream };
  }

  #kind(mix: Phase["mix"]): Kind {
    const kinds = Object.entries(mix) as [Kind, number][];
    let at = this.#random() * kinds.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [kind, weight] of kinds) if ((at -= weight) < 0) return kind;
    return "short";
  }

  #messages(kind: Kind): Message[] {
    const number = this.#number++;
    if (kind === "short") return [{ role: "user", content: `${wordsOf(this.#random, 6)} ${number}` }];
    if (kind === "turn") return this.#turn();
    // Unique from the front on, and made of few draws: 7 KB of words would cost the driver a millisecond.
    const sentence = `${number} ${wordsOf(this.#random, 60)} `;
    return [{ role: "user", content: sentence.repeat(Math.ceil(BYTES[kind] / sentence.length)).slice(0, BYTES[kind]) }];
  }

  #turn(): Message[] {
    const at = Math.floor(this.#random() * CONVERSATIONS);
    let messages = this.#conversations[at] ?? [];
    if (messages.length > 2 * TURNS) this.#conversations[at] = messages = this.#begun();
    messages.push({ role: "user", content: wordsOf(this.#random, QUESTION_WORDS) });
    const asked = [...messages];
    messages.push({ role: "assistant", content: ANSWER });
    return asked;
  }

  #begun(): Message[] {
    const system = this.#systems[Math.floor(this.#random() * GROUPS)] ?? "";
    return [{ role: "system", content: system }];
  }
}

/** `share`: of all requests, in [0, 1]. */
export function phaseAt(share: number): Phase {
  return PHASES.findLast(({ from }) => share >= from) ?? CALM;
}

export const paced = (phase: Phase, pace: number): Phase => ({ ...phase, rate: phase.rate * pace });
