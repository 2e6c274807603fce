/** Sends requests in a closed loop and times them. A process of its own, so that its work is nobody else's. */
import type { ApiName } from "../../../src/wire/api-table.ts";
import { Pool } from "undici";
import { serveCommands } from "./child.ts";
import { bodyTemplate, type BodyTemplate, MARK_LENGTH } from "./prompts.ts";

export interface LoadCommand {
  origin: string;
  headers: Record<string, string>;
  promptBytes: number;
  nonAscii?: boolean;
  stream: boolean;
  api?: ApiName;
  concurrency: number;
  requests: number;
  /** Sent before and not timed. */
  warmup: number;
  /** Unique from the first byte, not only in the last tenth. */
  uniqueFront?: boolean;
}

export interface LoadReply {
  /** To the last byte, and to the first byte of the body, ms. */
  totalMs: number[];
  firstMs: number[];
  wallMs: number;
  sent: number;
  failed: number;
  firstFailure: string | null;
  /** `data:` lines. */
  events: number;
  bodyBytes: number;
}

const PATHS: Record<ApiName, string> = {
  chat: "/v1/chat/completions",
  completions: "/v1/completions",
  responses: "/v1/responses",
  messages: "/v1/messages",
};
const DATA = Buffer.from("data:");
let counter = Date.now() % 1e9;

function countEvents(chunk: Buffer): number {
  let count = 0;
  for (let at = chunk.indexOf(DATA); at >= 0; at = chunk.indexOf(DATA, at + DATA.length)) count++;
  return count;
}

class Lane {
  readonly #pool: Pool;
  readonly #command: LoadCommand;
  readonly #template: BodyTemplate;
  readonly #body: Buffer;

  constructor(pool: Pool, command: LoadCommand, template: BodyTemplate) {
    this.#pool = pool;
    this.#command = command;
    this.#template = template;
    this.#body = Buffer.from(template.bytes);
  }

  async once(reply: LoadReply, timed: boolean): Promise<void> {
    const mark = (counter++).toString(36).padStart(MARK_LENGTH, "x");
    this.#body.write(mark, this.#template.tailAt, "latin1");
    if (this.#command.uniqueFront === true) this.#body.write(mark, this.#template.frontAt, "latin1");
    const startedMs = performance.now();
    let firstMs = -1;
    reply.sent++;
    const response = await this.#pool.request({
      method: "POST",
      path: PATHS[this.#command.api ?? "chat"],
      headers: { "content-type": "application/json", ...this.#command.headers },
      body: this.#body,
    });
    let said = "";
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      if (firstMs < 0) firstMs = performance.now() - startedMs;
      if (this.#command.stream && timed) reply.events += countEvents(chunk);
      if (response.statusCode !== 200) said += chunk.toString();
    }
    if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${said.slice(0, 300)}`);
    if (!timed) return;
    reply.totalMs.push(performance.now() - startedMs);
    reply.firstMs.push(firstMs);
  }
}

async function load(command: LoadCommand): Promise<LoadReply> {
  const template = bodyTemplate(command.promptBytes, command.stream, command.nonAscii, command.api);
  const pool = new Pool(command.origin, { connections: command.concurrency, pipelining: 1 });
  const reply: LoadReply = {
    totalMs: [],
    firstMs: [],
    wallMs: 0,
    sent: 0,
    failed: 0,
    firstFailure: null,
    events: 0,
    bodyBytes: template.bytes.length,
  };
  const lanes = Array.from({ length: command.concurrency }, () => new Lane(pool, command, template));
  const all = async (count: number, timed: boolean): Promise<void> => {
    let left = count;
    const run = async (lane: Lane): Promise<void> => {
      while (left-- > 0) {
        await lane.once(reply, timed).catch((error: unknown) => {
          reply.failed++;
          reply.firstFailure ??= String(error);
        });
      }
    };
    await Promise.all(lanes.map(run));
  };
  await all(command.warmup, false);
  const startedMs = performance.now();
  await all(command.requests, true);
  reply.wallMs = performance.now() - startedMs;
  await pool.close();
  return reply;
}

serveCommands(load);
