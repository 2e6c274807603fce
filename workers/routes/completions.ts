/** OpenAI's completions: one prompt is a request like any other; several are a request each, answered as one (src/wire/several-prompts.ts). */
import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import { isObject, type Json, refuse } from "../../src/wire/check.ts";
import { parseCompletionRequest } from "../../src/wire/completions.ts";
import { openaiErrorBody } from "../../src/wire/openai.ts";
import {
  bodyOfPrompt,
  errorOfPrompt,
  mergedCompletion,
  severalPrompts,
  shiftedChoices,
  tooManyChoices,
  UsageSum,
} from "../../src/wire/several-prompts.ts";
import { type AppEnv, background, errorResponse, requestIdOf } from "../context.ts";
import { answerLate, answerLong } from "../inference/late-answer.ts";
import { Patience } from "../inference/patience.ts";
import { readJson, refusalHeaders } from "../read-json.ts";
import { SseLines } from "../sse-lines.ts";
import { Ticker } from "../ticker.ts";
import { infer } from "./inference.ts";

/** Of one request's prompts so many run at once; the others would only wait in line before other people's. */
const AT_ONCE = 4;
const MOST_ANSWER_BYTES = 16 * 1024 * 1024;

const encoder = new TextEncoder();

type Send = (request: Request, c: Context<AppEnv>) => Response | Promise<Response>;

/** `send`: answers a request as this edge does. */
export function completions(send: Send): Handler<AppEnv> {
  return async (c) => {
    const arrivedAtMs = Date.now();
    const read = await readJson(c.req.raw);
    if ("code" in read) return errorResponse(c, read, refusalHeaders(c.req.raw.headers, read));
    const several = severalPrompts(read.value);
    if (several === null || !isObject(read.value)) return infer(c, read, arrivedAtMs);
    const problem = tooManyChoices(several) ?? firstProblem(read.value, several.prompts);
    if (problem !== null) return errorResponse(c, problem);
    const batch = new Batch(c, send, { body: read.value, ...several });
    return read.value["stream"] === true ? batch.stream() : batch.whole();
  };
}

/** All are looked at before the first is sent, and prompts before what can't go with them, as where there is one. */
function firstProblem(body: Json, prompts: readonly unknown[]): ApiError | null {
  const problems = prompts.flatMap((prompt, index) => problemOf(body, prompt, index) ?? []);
  return problems.find(({ param }) => param?.startsWith("prompt[")) ?? problems[0] ?? null;
}

function problemOf(body: Json, prompt: unknown, index: number): ApiError | null {
  if (Array.isArray(prompt) && typeof prompt[0] !== "number") {
    return refuse(`prompt[${index}]`, "must be a string or an array of tokens.");
  }
  const parsed = parseCompletionRequest(bodyOfPrompt(body, prompt));
  return parsed.ok ? null : errorOfPrompt(parsed.error, index);
}

class Batch {
  readonly #c: Context<AppEnv>;
  readonly #send: Send;
  readonly #body: Json;
  readonly #prompts: readonly unknown[];
  readonly #n: number;
  readonly #left = new AbortController();

  constructor(c: Context<AppEnv>, send: Send, { body, prompts, n }: { body: Json; prompts: readonly unknown[]; n: number }) {
    this.#c = c;
    this.#send = send;
    this.#body = body;
    this.#prompts = prompts;
    this.#n = n;
    const { signal } = c.req.raw;
    if (signal.aborted) this.#left.abort();
    else signal.addEventListener("abort", () => this.#left.abort());
  }

  /** A refusal has its real status, unless it comes after the first white space. */
  async whole(): Promise<Response> {
    const first = await this.#ask(0);
    const ticker = new Ticker();
    const patience = new Patience<Response>(ticker);
    patience.accepted(first);
    const gathering = this.#gather(first);
    const gathered = await Promise.race([gathering, patience.over]);
    patience.stop();
    if (gathered === undefined) {
      const waiting = { ticker, clientLeft: this.#clientLeft, end: () => ticker.stop(), background: background(this.#c) };
      return answerLong(waiting, this.#headersLike(first), (writable) => answerLate(waiting, gathering, writable));
    }
    ticker.stop();
    return gathered;
  }

  async stream(): Promise<Response> {
    const first = await this.#ask(0);
    if (first.status !== 200) return this.#refusal(first, 0);
    const waiting = { clientLeft: this.#clientLeft, end: () => undefined, background: background(this.#c) };
    return answerLong(waiting, this.#headersLike(first), (writable) => this.#pumpStream(first, writable));
  }

  readonly #clientLeft = (): void => this.#left.abort();

  async #ask(index: number): Promise<Response> {
    const headers = new Headers(this.#c.req.raw.headers);
    // It is unpacked by now, and has another length.
    for (const name of ["content-encoding", "content-length", "transfer-encoding"]) headers.delete(name);
    const body = JSON.stringify(bodyOfPrompt(this.#body, this.#prompts[index]));
    return this.#send(new Request(this.#c.req.raw.url, { method: "POST", headers, body, signal: this.#left.signal }), this.#c);
  }

  /** Ids and placement of the whole are the first prompt's. */
  #headersLike(first: Response): Headers {
    const headers = new Headers(first.headers);
    this.#c.set("requestId", headers.get("x-request-id") ?? requestIdOf(this.#c));
    headers.delete("content-length");
    return headers;
  }

  async #refusal(answer: Response, index: number): Promise<Response> {
    const { headers, status } = answer;
    this.#c.set("requestId", headers.get("x-request-id") ?? requestIdOf(this.#c));
    return new Response(JSON.stringify(this.#errorOf(await answer.text(), index)), { status, headers: withoutLength(headers) });
  }

  #errorOf(text: string, index: number): Json {
    const said = jsonOf(text);
    const error = isObject(said["error"]) ? said["error"] : null;
    if (error === null || typeof error["message"] !== "string") return { ...openaiErrorBody(LOST) };
    const param = typeof error["param"] === "string" ? error["param"] : null;
    const moved = errorOfPrompt({ code: "invalid_request", status: 400, message: error["message"], param }, index);
    return { error: { ...error, message: moved.message, param: moved.param } };
  }

  /** A few at a time, in their order; `first` is prompt 0's. */
  async #each(first: Response, take: (answer: Response, index: number) => Promise<void>): Promise<void> {
    let next = 1;
    const lane = async (answer: Response | null): Promise<void> => {
      if (answer !== null) await take(answer, 0);
      while (next < this.#prompts.length && !this.#left.signal.aborted) {
        const index = next++;
        await take(await this.#ask(index), index);
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => lane(at === 0 ? first : null)));
    } finally {
      this.#left.abort();
    }
  }

  /** The one answer of all, or the refusal of one of them. Never rejects. */
  async #gather(first: Response): Promise<Response> {
    const answers: Json[] = [];
    let bytes = 0;
    let refused: Response | null = null;
    const take = async (answer: Response, index: number): Promise<void> => {
      if (answer.status !== 200) {
        refused ??= await this.#refusal(answer, index);
        throw new Error("a prompt of several was refused");
      }
      const text = await answer.text();
      bytes += text.length;
      if (bytes > MOST_ANSWER_BYTES) throw new Error("the answers are too large together");
      answers[index] = jsonOf(text);
    };
    try {
      await this.#each(first, take);
      return new Response(JSON.stringify(mergedCompletion(answers, this.#n)), { headers: this.#headersLike(first) });
    } catch {
      return refused ?? errorResponse(this.#c, LOST);
    }
  }

  async #pumpStream(first: Response, writable: WritableStream<Uint8Array>): Promise<void> {
    const writer = writable.getWriter();
    const usage = new UsageSum();
    let head: Json | null = null;
    const say = (text: string): Promise<void> => writer.write(encoder.encode(text));
    const failed = async (error: Json): Promise<never> => {
      await say(`data: ${JSON.stringify(error)}\n\n`);
      throw new Error("a prompt of several was not answered");
    };
    try {
      await this.#each(first, async (answer, index) => {
        if (answer.status !== 200 || answer.body === null) return failed(this.#errorOf(await answer.text(), index));
        let isDone = false;
        for await (const line of new SseLines(answer.body)) {
          if (line.startsWith(":")) await say(`${line}\n\n`);
          if (!line.startsWith("data: ")) continue;
          if (line === "data: [DONE]") {
            isDone = true;
            continue;
          }
          const chunk = jsonOf(line.slice("data: ".length));
          if ("error" in chunk) return failed(this.#errorOf(JSON.stringify(chunk), index));
          head ??= { id: chunk["id"], object: chunk["object"], created: chunk["created"], model: chunk["model"] };
          usage.add(chunk["usage"]);
          const choices = shiftedChoices(chunk, index * this.#n);
          if (choices.length > 0) await say(`data: ${JSON.stringify({ ...chunk, ...head, choices })}\n\n`);
        }
        if (!isDone) return failed({ ...openaiErrorBody(LOST) });
      });
      if (head !== null && Object.keys(usage.whole).length > 0)
        await say(`data: ${JSON.stringify({ ...(head as Json), usage: usage.whole, choices: [] })}\n\n`);
      await say("data: [DONE]\n\n");
    } finally {
      await writer.close().catch(() => undefined);
    }
  }
}

const LOST = apiError("replica_lost", "One of the prompts was not answered. What came before is good; ask again for the rest.");

function withoutLength(headers: Headers): Headers {
  const kept = new Headers(headers);
  kept.delete("content-length");
  return kept;
}

function jsonOf(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}
