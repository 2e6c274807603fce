/** Callers who often leave before their answer is complete, half of them without a goodbye (RST). */
import { request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom, type Target, wordsOf } from "../conversations.ts";

export interface FickleOptions {
  callers: number;
  seed: number;
  /** Of the requests. */
  cancelShare: number;
  /** Cancelled at a random moment up to then. */
  cancelWithinMs: number;
  /** Prompts that come again and again. */
  prompts: number;
  promptWords: number;
  maxTokens: number;
}

/** done: with [DONE] · told: an error event or answer · silent: ended as if complete · cut: the connection broke · aborted, reset: by the caller. */
export type Outcome = "done" | "told" | "silent" | "cut" | "aborted" | "reset";

export interface Fickle {
  counts: Record<Outcome, number>;
  /** No new ones; resolves when the last has ended. */
  end(): Promise<void>;
}

interface Leave {
  afterMs: number;
  how: "aborted" | "reset";
}

function ask(target: Target, content: string, maxTokens: number, leave: Leave | null): Promise<Outcome> {
  return new Promise((resolve) => {
    const body = JSON.stringify({ model: target.model, messages: [{ role: "user", content }], max_tokens: maxTokens, stream: true });
    const request = httpRequest(`${target.url}/v1/chat/completions`, { method: "POST", headers: target.headers, agent: false });
    const timer = setTimeout(() => {
      if (leave === null) return;
      settle(leave.how);
      if (leave.how === "reset" && request.socket !== null) request.socket.resetAndDestroy();
      else request.destroy();
    }, leave?.afterMs ?? 0);
    const settle = (outcome: Outcome): void => {
      clearTimeout(timer);
      resolve(outcome);
    };
    request.on("error", () => settle("cut"));
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("error", () => settle("cut"));
      response.on("end", () => {
        if (text.includes("data: [DONE]")) settle("done");
        else settle(response.statusCode !== 200 || text.includes('"error"') ? "told" : "silent");
      });
    });
    request.end(body);
  });
}

export function startFickle(target: Target, options: FickleOptions): Fickle {
  const random = seededRandom(options.seed);
  const prompts = Array.from({ length: options.prompts }, () => wordsOf(random, options.promptWords));
  const counts: Fickle["counts"] = { done: 0, told: 0, silent: 0, cut: 0, aborted: 0, reset: 0 };
  let ending = false;
  const caller = async (): Promise<void> => {
    while (!ending) {
      const content = `${prompts[Math.floor(random() * prompts.length)] ?? ""} ${wordsOf(random, 20)}`;
      const leaves = random() < options.cancelShare;
      const leave: Leave = { afterMs: random() * options.cancelWithinMs, how: random() < 0.5 ? "aborted" : "reset" };
      const outcome = await ask(target, content, options.maxTokens, leaves ? leave : null);
      counts[outcome]++;
      if (outcome === "cut" || outcome === "told") await sleep(50);
    }
  };
  const all = Promise.all(Array.from({ length: options.callers }, caller));
  return {
    counts,
    async end() {
      ending = true;
      await all;
    },
  };
}
