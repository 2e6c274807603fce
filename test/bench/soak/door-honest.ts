/** Honest traffic at a steady pace: chats, completions, messages and responses, whole and streamed, some as conversations, a few stored. */
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom, type Target, wordsOf } from "../conversations.ts";

/** Of a request; the product's own limits are shorter. */
const TIMEOUT_MS = 120_000;
/** Every so many are stored responses. */
const STORED_EVERY = 25;
const FRONTS = 4;
const FRONT_WORDS = 60;
const OUTPUT_TOKENS = 16;

/** done: whole, with its API's end · storage_full: a stored response that could not be kept · failed: anything else. */
export type Outcome = "done" | "storage_full" | "failed";

export interface Honest {
  kind: string;
  stored: boolean;
  outcome: Outcome;
  /** To the last byte, from the moment it was due. */
  ms: number;
  /** To the first byte of the body; null without one. */
  firstMs: number | null;
  /** Why it failed; empty otherwise. */
  said: string;
}

interface Api {
  path: string;
  /** How a whole answer and a stream are known to be complete. */
  whole: RegExp;
  streamed: RegExp;
  body: (turns: readonly string[]) => object;
}

const asMessages = (turns: readonly string[]): object[] =>
  turns.map((content, n) => ({ role: n % 2 === 0 ? "user" : "assistant", content }));
const tokens = { max_tokens: OUTPUT_TOKENS, temperature: 0 };
const APIS: readonly Api[] = [
  {
    path: "/v1/chat/completions",
    whole: /"finish_reason":"/,
    streamed: /^data: \[DONE\]$/m,
    body: (turns) => ({ ...tokens, messages: asMessages(turns) }),
  },
  {
    path: "/v1/completions",
    whole: /"finish_reason":"/,
    streamed: /^data: \[DONE\]$/m,
    body: (turns) => ({ ...tokens, prompt: turns.join("\n") }),
  },
  {
    path: "/v1/messages",
    whole: /"stop_reason":"/,
    streamed: /^event: message_stop$/m,
    body: (turns) => ({ ...tokens, messages: asMessages(turns) }),
  },
  {
    path: "/v1/responses",
    whole: /"status":"(?:completed|incomplete)"/,
    streamed: /^event: response\.(?:completed|incomplete)$/m,
    body: (turns) => ({ max_output_tokens: OUTPUT_TOKENS, temperature: 0, store: false, input: asMessages(turns) }),
  },
];

interface Ask {
  kind: string;
  path: string;
  stored: boolean;
  body: string;
  mark: RegExp;
}

/** The same requests for the same seed, whatever goes on beside them. */
class Asks {
  readonly #random: () => number;
  readonly #fronts: readonly string[];
  readonly #model: string;
  #count = 0;
  #turns: string[] = [];

  constructor(model: string, seed: number) {
    this.#model = model;
    this.#random = seededRandom(seed);
    // The fronts are those of every seed: what is cached is cached in each part alike.
    const random = seededRandom(1);
    this.#fronts = Array.from({ length: FRONTS }, () => wordsOf(random, FRONT_WORDS));
  }

  next(): Ask {
    const count = this.#count++;
    const stored = count % STORED_EVERY === STORED_EVERY - 1;
    const api = stored ? APIS[3] : APIS[count % APIS.length];
    if (api === undefined) throw new RangeError("no API");
    const stream = !stored && Math.floor(count / APIS.length) % 2 === 1;
    const body = { model: this.#model, ...api.body(this.#conversation(count)), stream, ...(stored ? { store: true } : {}) };
    const kind = `${api.path.slice("/v1/".length)}${stream ? " streamed" : ""}${stored ? " stored" : ""}`;
    return { kind, path: api.path, stored, body: JSON.stringify(body), mark: stream ? api.streamed : api.whole };
  }

  /** Up to three turns, one request each, then a new one. */
  #conversation(count: number): readonly string[] {
    const words = wordsOf(this.#random, 12);
    if (this.#turns.length >= 5 || this.#turns.length === 0) this.#turns = [`${this.#fronts[count % FRONTS] ?? ""} ${words}`];
    else this.#turns = [...this.#turns, wordsOf(this.#random, 8), words];
    return this.#turns;
  }
}

export interface HonestOptions {
  perS: number;
  seed: number;
  /** Requests beyond these wait here, and their time counts from when they were due. */
  mostAtOnce: number;
}

/** Plays until `untilMs` on the monotonic clock; resolves when all have ended. */
export async function playHonest(target: Target, untilMs: number, { perS, seed, mostAtOnce }: HonestOptions): Promise<Honest[]> {
  const asks = new Asks(target.model, seed);
  const agent = new Agent({ keepAlive: true, maxSockets: mostAtOnce });
  const all: Promise<Honest>[] = [];
  let dueMs = performance.now();
  while (dueMs < untilMs) {
    await sleep(Math.max(0, dueMs - performance.now()));
    all.push(one(target, agent, asks.next(), dueMs));
    dueMs += 1_000 / perS;
  }
  const ended = await Promise.all(all);
  agent.destroy();
  return ended;
}

function one(target: Target, agent: Agent, { kind, path, stored, body, mark }: Ask, dueMs: number): Promise<Honest> {
  return new Promise((resolve) => {
    const headers = { ...target.headers, "content-length": Buffer.byteLength(body) };
    const request = httpRequest(target.url + path, { method: "POST", headers, agent });
    let firstMs: number | null = null;
    const settle = (outcome: Outcome, said = ""): void => {
      clearTimeout(timer);
      resolve({ kind, stored, outcome, ms: performance.now() - dueMs, firstMs, said: said.slice(0, 200) });
    };
    const timer = setTimeout(() => {
      settle("failed", `no answer within ${TIMEOUT_MS} ms`);
      request.destroy();
    }, TIMEOUT_MS);
    request.on("error", (error) => settle("failed", `the connection broke: ${error.message}`));
    request.on("response", (response) =>
      hear(response, mark, settle, () => {
        firstMs ??= performance.now() - dueMs;
      }),
    );
    request.end(body);
  });
}

function hear(response: IncomingMessage, mark: RegExp, settle: (outcome: Outcome, said?: string) => void, first: () => void): void {
  let text = "";
  response.setEncoding("utf8");
  response.on("data", (part: string) => {
    first();
    text += part;
  });
  response.on("error", (error) => settle("failed", `the answer broke: ${error.message}`));
  response.on("close", () => settle("failed", "the answer was cut"));
  response.on("end", () => {
    if (response.statusCode === 200 && mark.test(text) && !text.includes('"error":{')) return settle("done");
    if (response.statusCode === 503 && text.includes('"storage_full"')) return settle("storage_full");
    settle("failed", `${response.statusCode}: ${text}`);
  });
}
