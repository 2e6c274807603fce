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
import { type AppEnv, errorResponse } from "../context.ts";
import { answerCall } from "../inference/answer.ts";
import { askedOf } from "../inference/asked.ts";
import { type Client, type Here, InferenceCall } from "../inference/call.ts";
import { answerLate, answerLong } from "../inference/late-answer.ts";
import { Patience } from "../inference/patience.ts";
import { readJson, refusalHeaders } from "../read-json.ts";
import { SseLines } from "../sse-lines.ts";
import { Ticker } from "../ticker.ts";
import { clientOf, hereOf, infer } from "./inference.ts";

/** Of one request's prompts so many run at once; the others would only wait in line before other people's. */
const AT_ONCE = 4;
const MOST_ANSWER_BYTES = 16 * 1024 * 1024;

const encoder = new TextEncoder();

export const completions: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const read = await readJson(c.req.raw);
  if ("code" in read) return errorResponse(c, read, refusalHeaders(c.req.raw.headers, read));
  const several = severalPrompts(read.value);
  if (several === null || !isObject(read.value)) return infer(c, read, arrivedAtMs);
  const problem = tooManyChoices(several) ?? firstProblem(read.value, several.prompts);
  if (problem !== null) return errorResponse(c, problem);
  const batch = new Batch(c, { body: read.value, ...several });
  return read.value["stream"] === true ? batch.stream() : batch.whole();
};

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

/** What became of one prompt, and its request's id; null: it got to no pool. */
interface Answered {
  answer: Response | ApiError;
  id: string | null;
}

class Batch {
  readonly #c: Context<AppEnv>;
  readonly #here: Here;
  readonly #client: Client;
  readonly #body: Json;
  readonly #prompts: readonly unknown[];
  readonly #n: number;

  constructor(c: Context<AppEnv>, { body, prompts, n }: { body: Json; prompts: readonly unknown[]; n: number }) {
    this.#c = c;
    this.#here = hereOf(c);
    this.#client = clientOf(c.req.raw);
    this.#body = body;
    this.#prompts = prompts;
    this.#n = n;
  }

  /** A refusal has its real status, unless it comes after the first white space. */
  async whole(): Promise<Response> {
    const first = await this.#ask(0);
    const ticker = new Ticker();
    const patience = new Patience<Answered>(ticker);
    patience.accepted(first);
    const gathering = this.#gather(first);
    const gathered = await Promise.race([gathering, patience.over]);
    patience.stop();
    if (gathered === undefined) {
      const waiting = { ticker, clientLeft: this.#clientLeft, end: () => ticker.stop(), background: this.#here.background };
      return answerLong(waiting, this.#headersLike(first), (writable) => answerLate(waiting, gathering, writable));
    }
    ticker.stop();
    return gathered;
  }

  async stream(): Promise<Response> {
    const first = await this.#ask(0);
    if (!isAnswer(first.answer)) return this.#refusal(first, 0);
    const waiting = { clientLeft: this.#clientLeft, end: () => undefined, background: this.#here.background };
    return answerLong(waiting, this.#headersLike(first), (writable) => this.#pumpStream(first, writable));
  }

  readonly #clientLeft = (): void => this.#client.left();

  async #ask(index: number): Promise<Answered> {
    const arrivedAtMs = Date.now();
    const value = bodyOfPrompt(this.#body, this.#prompts[index]);
    const read = { value, bytes: encoder.encode(JSON.stringify(value)) };
    const { req } = this.#c;
    const received = { tenant: this.#c.get("tenant"), path: req.path, header: (name: string) => req.header(name), read };
    const asked = await askedOf(this.#here.env, received);
    if ("code" in asked) return { answer: asked, id: null };
    const call = new InferenceCall(this.#here, asked, this.#client, arrivedAtMs);
    return { answer: await answerCall(call), id: call.id };
  }

  /** Ids and placement of the whole are the first prompt's. */
  #headersLike({ answer, id }: Answered): Headers {
    if (id !== null) this.#c.set("requestId", id);
    return answer instanceof Response ? withoutLength(answer.headers) : new Headers();
  }

  async #refusal({ answer, id }: Answered, index: number): Promise<Response> {
    if (id !== null) this.#c.set("requestId", id);
    if (!(answer instanceof Response)) return errorResponse(this.#c, errorOfPrompt(answer, index));
    const { headers, status } = answer;
    return new Response(JSON.stringify(this.#errorOf(await answer.text(), index)), { status, headers: withoutLength(headers) });
  }

  /** As the client is to read it. */
  async #errorIn(answer: Response | ApiError, index: number): Promise<Json> {
    if (answer instanceof Response) return this.#errorOf(await answer.text(), index);
    return { ...openaiErrorBody(errorOfPrompt(answer, index)) };
  }

  /** `text`: a replica's refusal, or an error in its stream. */
  #errorOf(text: string, index: number): Json {
    const said = jsonOf(text);
    const error = isObject(said["error"]) ? said["error"] : null;
    if (error === null || typeof error["message"] !== "string") return { ...openaiErrorBody(LOST) };
    const param = typeof error["param"] === "string" ? error["param"] : null;
    const moved = errorOfPrompt({ code: "invalid_request", status: 400, message: error["message"], param }, index);
    return { error: { ...error, message: moved.message, param: moved.param } };
  }

  /** A few at a time, in their order; `first` is prompt 0's. */
  async #each(first: Answered, take: (answered: Answered, index: number) => Promise<void>): Promise<void> {
    let next = 1;
    const lane = async (answered: Answered | null): Promise<void> => {
      if (answered !== null) await take(answered, 0);
      while (next < this.#prompts.length && !this.#client.hasLeft) {
        const index = next++;
        await take(await this.#ask(index), index);
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => lane(at === 0 ? first : null)));
    } finally {
      this.#client.left();
    }
  }

  /** The one answer of all, or the refusal of one of them. Never rejects. */
  async #gather(first: Answered): Promise<Response> {
    const answers: Json[] = [];
    let bytes = 0;
    let refused: Response | null = null;
    const take = async (answered: Answered, index: number): Promise<void> => {
      const { answer } = answered;
      if (!isAnswer(answer)) {
        refused ??= await this.#refusal(answered, index);
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

  async #pumpStream(first: Answered, writable: WritableStream<Uint8Array>): Promise<void> {
    const writer = writable.getWriter();
    const usage = new UsageSum();
    let head: Json | null = null;
    const say = (text: string): Promise<void> => writer.write(encoder.encode(text));
    const failed = async (error: Json): Promise<never> => {
      await say(`data: ${JSON.stringify(error)}\n\n`);
      throw new Error("a prompt of several was not answered");
    };
    try {
      await this.#each(first, async ({ answer }, index) => {
        if (!isAnswer(answer) || answer.body === null) return failed(await this.#errorIn(answer, index));
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

const isAnswer = (answer: Response | ApiError): answer is Response => answer instanceof Response && answer.status === 200;

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
