/**
 * The way to another server that speaks OpenAI's API. Every call has a time limit and a signal, every body a bound, and what goes wrong is
 * a value that names neither the server's address nor its key. Redirects are not followed: the key goes to one server only.
 */
import { Agent, request } from "undici";
import { withinLimit } from "../../time-limit.ts";
import { refusalOrStream } from "./early-error.ts";

/** unreachable: no connection, or it broke. */
export type LinkFailure = { type: "failed"; why: "unreachable" | "timeout" | "aborted" | "malformed" };

/** `body`: of JSON; undefined where it is none. */
export interface LinkAnswer {
  type: "answer";
  status: number;
  text: string;
  body: unknown;
}

export interface LinkStream {
  type: "stream";
  /** Rejects when the connection breaks, is silent too long, or the signal ends it. */
  chunks: AsyncIterable<Uint8Array>;
}

/** Prompts as tokens take 8 bytes a token. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const CONNECT_MS = 2_000;
/** Other requests may be computed before this one, by a server that queues. */
const FIRST_BYTE_MS = 120_000;
const SILENCE_MS = 60_000;

interface Call {
  path: string;
  /** Absent: GET. */
  body?: unknown;
  ms: number;
  signal?: AbortSignal;
}

export class ServerLink {
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;

  /**
   * @param connections open at once, at most.
   * @param headers more of them, of every call.
   */
  constructor(url: string, key: string | null, connections: number, headers: Readonly<Record<string, string>> = {}) {
    this.#base = url.replace(/\/+$/, "").replace(/\/v1$/, "");
    this.#headers = { ...headers, "content-type": "application/json", ...(key === null ? {} : { authorization: `Bearer ${key}` }) };
    this.#agent = new Agent({
      connections,
      pipelining: 1,
      keepAliveTimeout: 10_000,
      connect: { timeout: CONNECT_MS },
      headersTimeout: FIRST_BYTE_MS,
      bodyTimeout: SILENCE_MS,
    });
  }

  /** A whole answer. */
  async call({ path, body, ms, signal }: Call): Promise<LinkAnswer | LinkFailure> {
    const limited = await withinLimit({ ms, signals: [signal] }, async (ending): Promise<LinkAnswer | LinkFailure> => {
      try {
        const answer = await this.#send(path, body, ending);
        return await wholeOf(answer.statusCode, answer.body);
      } catch {
        return { type: "failed", why: "unreachable" };
      }
    });
    return limited.type === "done" ? limited.result : { type: "failed", why: limited.type };
  }

  /** A streamed answer, once its status is 200 and no refusal comes as its first event; else what the server says instead. */
  async open(path: string, body: unknown, signal: AbortSignal): Promise<LinkStream | LinkAnswer | LinkFailure> {
    try {
      const answer = await this.#send(path, body, signal);
      if (answer.statusCode === 200) return await refusalOrStream(answer.body);
      return await wholeOf(answer.statusCode, answer.body);
    } catch (cause) {
      if (signal.aborted) return { type: "failed", why: "aborted" };
      return { type: "failed", why: isTimeout(cause) ? "timeout" : "unreachable" };
    }
  }

  /** Calls that are under way end as unreachable. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }

  #send(path: string, body: unknown, signal: AbortSignal) {
    return request(this.#base + path, {
      method: body === undefined ? "GET" : "POST",
      headers: this.#headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal,
      dispatcher: this.#agent,
    });
  }
}

/** A server that does not answer in time may still live; one that takes no connection does not. */
function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "UND_ERR_HEADERS_TIMEOUT";
}

async function wholeOf(status: number, chunks: AsyncIterable<Uint8Array>): Promise<LinkAnswer | LinkFailure> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of chunks) {
    bytes += part.length;
    // Leaving the loop closes the connection.
    if (bytes > MAX_BODY_BYTES) return { type: "failed", why: "malformed" };
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString();
  try {
    return { type: "answer", status, text, body: JSON.parse(text) as unknown };
  } catch {
    return { type: "answer", status, text, body: undefined };
  }
}
