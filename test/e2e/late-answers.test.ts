/** How long an answer may keep a real status, and what its client gets after that: a real edge, and a replica that answers as a test says. */
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeBundle, SoakEdge } from "../bench/soak/edge-process.ts";
import { SCRIPTED_MODEL, type ScriptedReplica, startScriptedReplica } from "./scripted-replica.ts";
import { until } from "./started.ts";

const LATE_MS = 4_500;
const SOON_MS = 1_500;
const REFUSED = JSON.stringify({ error: { message: "no", type: "invalid_request_error", code: null, param: null } });
const user = (content: string) => [{ role: "user" as const, content }];
const APIS = [
  ["/v1/chat/completions", (content: string) => ({ messages: user(content) })],
  ["/v1/completions", (prompt: string) => ({ prompt })],
  ["/v1/messages", (content: string) => ({ max_tokens: 8, messages: user(content) })],
  ["/v1/messages/count_tokens", (content: string) => ({ messages: user(content) })],
  ["/v1/responses", (input: string) => ({ store: false, input })],
  ["/v1/responses/input_tokens", (input: string) => ({ input })],
  ["/v1/prewarm", (content: string) => ({ messages: user(content) })],
] as const;
const [[CHAT, chatOf]] = APIS;

let bundle: Awaited<ReturnType<typeof makeBundle>>;
let edge: SoakEdge;
let replica: ScriptedReplica;
beforeAll(async () => {
  bundle = await makeBundle();
  edge = await SoakEdge.start(bundle.path);
  replica = await startScriptedReplica(edge);
});
afterAll(async () => {
  await replica?.close();
  await edge?.end();
  await bundle?.remove();
});

const ask = (path: string, body: object): Promise<Response> =>
  fetch(edge.url + path, { method: "POST", headers: edge.headers, body: JSON.stringify({ model: SCRIPTED_MODEL, ...body }) });

/** The word is in the prompt and names the script. */
let serial = 0;
const wordFor = (): string => `script-${(serial += 1)}.`;

function begin(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
}

/** Says that the request is there, as a replica does that is still at work with it. */
function accept(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/plain", "x-warmpath-verdict": "follows" });
  response.write("\n");
}

const refuse = (response: ServerResponse): void => void response.end(`{"status":400,"contentType":"application/json"}\n${REFUSED}`);

describe.concurrent.each(APIS)("a whole answer of %s", (path, bodyOf) => {
  it("that takes longer than 3 s begins with white space, and is the same JSON", async () => {
    const word = wordFor();
    replica.on(word, (response) => {
      begin(response);
      setTimeout(() => response.end('{"object":"x"}'), LATE_MS);
    });
    const answer = await ask(path, bodyOf(word));
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(answer.headers.get("x-warmpath-replica")).toBe("scripted");
    expect(await answer.text()).toMatch(/^\n+\{"object":"x"\}$/);
  });

  it("that is refused before has its real status, also where the replica said first that the request is there", async () => {
    const word = wordFor();
    let asked = 0;
    replica.on(word, (response) => {
      asked += 1;
      accept(response);
      setTimeout(() => refuse(response), SOON_MS);
    });
    const answer = await ask(path, bodyOf(word));
    expect([answer.status, answer.headers.get("content-type"), await answer.json()]).toEqual([
      400,
      "application/json",
      JSON.parse(REFUSED),
    ]);
    expect(asked).toBe(1);
  });

  it("that is refused after is cut: no status of an error is left to give", async () => {
    const word = wordFor();
    replica.on(word, (response) => {
      accept(response);
      setTimeout(() => refuse(response), LATE_MS);
    });
    const answer = await ask(path, bodyOf(word));
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow("terminated");
  });
});

describe.concurrent("the official clients", () => {
  const choice = { index: 0, message: { role: "assistant", content: "Yes." }, finish_reason: "stop" };
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  const completion = { id: "a", object: "chat.completion", created: 1, model: SCRIPTED_MODEL, choices: [choice], usage };
  const message = {
    id: "a",
    type: "message",
    role: "assistant",
    model: SCRIPTED_MODEL,
    content: [{ type: "text", text: "Yes." }],
    stop_reason: "end_turn",
    usage: { input_tokens: 1, output_tokens: 1 },
  };
  const late =
    (body: object) =>
    (response: ServerResponse): void => {
      begin(response);
      setTimeout(() => response.end(JSON.stringify(body)), LATE_MS);
    };

  it("read an answer that begins with white space", async () => {
    const openai = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: edge.secrets.apiKey, maxRetries: 0 });
    const anthropic = new Anthropic({ baseURL: edge.url, apiKey: edge.secrets.apiKey, maxRetries: 0 });
    const [first, second] = [wordFor(), wordFor()];
    replica.on(first, late(completion));
    replica.on(second, late(message));
    const [one, other] = await Promise.all([
      openai.chat.completions.create({ model: SCRIPTED_MODEL, messages: user(first) }),
      anthropic.messages.create({ model: SCRIPTED_MODEL, max_tokens: 8, messages: user(second) }),
    ]);
    expect(one.choices[0]?.message.content).toBe("Yes.");
    expect(other.content).toEqual([{ type: "text", text: "Yes." }]);
  });

  it("take a cut body for an error, and not for an answer", async () => {
    const openai = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: edge.secrets.apiKey, maxRetries: 0 });
    const word = wordFor();
    replica.on(word, (response) => {
      accept(response);
      setTimeout(() => refuse(response), LATE_MS);
    });
    await expect(openai.chat.completions.create({ model: SCRIPTED_MODEL, messages: user(word) })).rejects.toThrow();
  });
});

describe.concurrent("a replica", () => {
  it("that is lost after the headers is replaced", async () => {
    const word = wordFor();
    replica.on(word, (response, attempt) => {
      begin(response);
      setTimeout(() => (attempt === 1 ? response.destroy() : response.end('{"object":"second"}')), attempt === 1 ? LATE_MS : 0);
    });
    expect(await (await ask(CHAT, chatOf(word))).text()).toMatch(/^\n+\{"object":"second"\}$/);
  });

  it("whose verdict is none is lost at once", async () => {
    const word = wordFor();
    replica.on(word, (response, attempt) => {
      if (attempt > 1) return void response.writeHead(200, { "content-type": "application/json" }).end('{"object":"second"}');
      accept(response);
      response.write("nonsense\n");
    });
    const answer = await ask(CHAT, chatOf(word));
    expect([await answer.text(), answer.headers.get("x-warmpath-attempts")]).toEqual(['{"object":"second"}', "2"]);
  });

  it("may stream after its verdict, and what comes in one piece with it is not lost", async () => {
    const word = wordFor();
    replica.on(word, (response) => {
      accept(response);
      setTimeout(() => {
        response.write('{"status":200,"contentType":"text/event-stream"}\ndata: {"a":1}\n\n');
        response.end("data: [DONE]\n\n");
      }, SOON_MS);
    });
    const answer = await ask(CHAT, { ...chatOf(word), stream: true });
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(await answer.text()).toBe('data: {"a":1}\n\ndata: [DONE]\n\n');
  });

  it("hears that a client has gone, whole or streamed, silent or not", async () => {
    const left: string[] = [];
    const words = await Promise.all(
      [{}, { stream: true }].map(async (more) => {
        const word = wordFor();
        replica.on(word, (response) => {
          response.writeHead(200, { "content-type": "stream" in more ? "text/event-stream" : "application/json" });
          response.flushHeaders();
          const alive = setInterval(() => response.write("stream" in more ? ": computing\n\n" : "\n"), 1_000);
          response.once("close", () => {
            clearInterval(alive);
            left.push(word);
          });
        });
        const leaves = new AbortController();
        const gone = fetch(edge.url + CHAT, {
          method: "POST",
          headers: edge.headers,
          body: JSON.stringify({ model: SCRIPTED_MODEL, ...chatOf(word), ...more }),
          signal: leaves.signal,
        }).catch(() => undefined);
        await sleep(600);
        leaves.abort();
        await gone;
        return word;
      }),
    );
    await until("both are left", () => words.every((word) => left.includes(word)), 8_000);
  });
});
