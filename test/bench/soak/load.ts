/** Requests at a given rate, whatever becomes of those before (an open loop with a bound), and what became of each. */
import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom } from "../conversations.ts";
import type { SoakEdge } from "./edge-process.ts";
import { type Ask, type Phase, Prompts } from "./prompts.ts";

/** In flight at once; then the driver waits. */
const MOST_AT_ONCE = 320;
/** Asked at once now and then, on top of the rate. */
const BURST = 200;
const LEAVE_SHARE = 0.02;
const LEAVES_WITHIN_MS = 400;
const TIMEOUT_MS = 120_000;
/** Messages that differ are counted apart, up to so many. */
const MOST_MESSAGES = 40;

/** done: whole · left: by its client · refused: "overloaded" · failed: any other error or a cut · edgeDown: no edge was there. */
export type Outcome = "done" | "left" | "refused" | "failed" | "edgeDown";

export interface LoadOptions {
  seed: number;
  /** Called after each request was sent, with how many. */
  onSent(sent: number): void;
  /** Nothing was disturbed lately: nothing may fail. */
  isQuiet(): boolean;
}

export interface LoadCounts extends Record<Outcome, number> {
  sent: number;
  /** Refused though the line was not full. */
  refusedEarly: number;
  /** Failed while nothing was disturbed. */
  failedInQuiet: number;
  /** Sent once more, as their kept-alive connection was closed just then. */
  resent: number;
}

export class Load {
  readonly counts: LoadCounts = {
    sent: 0,
    done: 0,
    left: 0,
    refused: 0,
    failed: 0,
    edgeDown: 0,
    refusedEarly: 0,
    failedInQuiet: 0,
    resent: 0,
  };
  /** What was said, digits apart → how often. */
  readonly messages = new Map<string, number>();
  readonly #edge: SoakEdge;
  readonly #options: LoadOptions;
  readonly #prompts: Prompts;
  readonly #random: () => number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: MOST_AT_ONCE });
  #latencies: number[] = [];
  #flying = 0;

  constructor(edge: SoakEdge, options: LoadOptions) {
    this.#edge = edge;
    this.#options = options;
    this.#prompts = new Prompts(options.seed);
    this.#random = seededRandom(options.seed + 1);
  }

  /** To the last byte of those done since this was asked last, ms. */
  takeLatencies(): number[] {
    return this.#latencies.splice(0);
  }

  /** `phaseOf(share)`: of those of this call. `bursts`: so many of them are bursts. Resolves when all are answered. */
  async play(requests: number, phaseOf: (share: number) => Phase, bursts: number): Promise<void> {
    let dueMs = performance.now();
    const burstEvery = bursts === 0 ? Infinity : requests / bursts;
    let nextBurst = burstEvery / 2;
    for (let played = 0; played < requests;) {
      if (!this.#edge.isUp) {
        await this.#edge.up;
        dueMs = performance.now();
      }
      const phase = phaseOf(played / requests);
      const isBurst = played >= nextBurst && phase.name !== "long only";
      if (played >= nextBurst) nextBurst += burstEvery;
      for (let more = isBurst ? Math.min(BURST, requests - played) : 1; more > 0; more--, played++)
        this.#send(this.#prompts.next(phase.mix));
      dueMs += (-Math.log(1 - this.#random()) * 1_000) / phase.rate;
      await this.#pause(dueMs);
      // What could not be sent in time is not made up for at once.
      dueMs = Math.max(dueMs, performance.now() - 1_000);
    }
    while (this.#flying > 0) await sleep(20);
  }

  end(): void {
    this.#agent.destroy();
  }

  async #pause(untilMs: number): Promise<void> {
    const waitMs = untilMs - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    while (this.#flying >= MOST_AT_ONCE) await sleep(5);
  }

  #send(ask: Ask): void {
    this.#flying++;
    this.counts.sent++;
    const life = this.#edge.life;
    const leavesMs = this.#random() < LEAVE_SHARE ? this.#random() * LEAVES_WITHIN_MS : null;
    const startedMs = performance.now();
    void this.#ask(ask, leavesMs).then(({ outcome, said }) => {
      this.#flying--;
      const edgeDied = outcome === "failed" && (this.#edge.life !== life || !this.#edge.isUp);
      this.#count(edgeDied ? "edgeDown" : outcome, said);
      if (outcome === "done") this.#latencies.push(performance.now() - startedMs);
    });
    this.#options.onSent(this.counts.sent);
  }

  #count(outcome: Outcome, said: string): void {
    this.counts[outcome]++;
    if (outcome !== "refused" && outcome !== "failed") return;
    if (outcome === "refused" && !said.includes("are waiting already")) this.counts.refusedEarly++;
    if (outcome === "failed" && this.#options.isQuiet()) this.counts.failedInQuiet++;
    const when = this.#options.isQuiet() ? "in quiet: " : "";
    const message = when + said.replaceAll(/\d+/g, "N").slice(0, 160);
    if (this.messages.has(message) || this.messages.size < MOST_MESSAGES) this.messages.set(message, (this.messages.get(message) ?? 0) + 1);
  }

  #ask({ body, stream }: Ask, leavesMs: number | null): Promise<{ outcome: Outcome; said: string }> {
    return new Promise((resolve) => {
      const headers = { ...this.#edge.headers, "content-length": Buffer.byteLength(body) };
      const settle = (outcome: Outcome, said = ""): void => {
        clearTimeout(timer);
        resolve({ outcome, said });
      };
      const timer = setTimeout(() => {
        settle(leavesMs === null ? "failed" : "left", `no answer within ${TIMEOUT_MS} ms`);
        request.destroy();
      }, leavesMs ?? TIMEOUT_MS);
      const send = (): ClientRequest => {
        const sent = httpRequest(`${this.#edge.url}/v1/chat/completions`, { method: "POST", headers, agent: this.#agent });
        sent.on("error", (error: NodeJS.ErrnoException) => {
          // A kept-alive connection that the server closes at this very moment: Node's documentation of reusedSocket says to ask again.
          if (sent.reusedSocket && error.code === "ECONNRESET" && !sent.destroyed && this.#edge.isUp) {
            this.counts.resent++;
            request = send();
          } else settle("failed", `the connection broke: ${error.message}`);
        });
        sent.on("response", (response) => hear(response, stream, settle));
        sent.end(body);
        return sent;
      };
      let request = send();
    });
  }
}

function hear(response: IncomingMessage, stream: boolean, settle: (outcome: Outcome, said?: string) => void): void {
  let text = "";
  response.setEncoding("utf8");
  response.on("data", (part: string) => (text += part));
  response.on("error", (error) => settle("failed", `the answer broke: ${error.message}`));
  response.on("close", () => settle("failed", "the answer was cut"));
  response.on("end", () => {
    if (response.statusCode === 200 && (stream ? text.includes("data: [DONE]") : text.includes('"finish_reason"'))) return settle("done");
    const { code, message } = errorIn(text);
    // A stream that waited in line has its 200 already, and is told in an event.
    if (code === "overloaded") return settle("refused", message);
    settle("failed", `${response.statusCode} ${code}: ${message}`);
  });
}

/** Of an error's body, or of the error event that ends a stream. */
function errorIn(text: string): { code: string; message: string } {
  const found = /"error":\{"message":"((?:[^"\\]|\\.)*)".*?"code":(null|"[^"]*")/.exec(text);
  return { code: (found?.[2] ?? "none").replaceAll('"', ""), message: found?.[1] ?? "ended without an end" };
}
