/** A server with vLLM's shape that computes (openai-server.ts), announces its blocks over zeromq as vLLM does, and can be paused, drained and killed. */
import type { ServerResponse } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { byteCharacters } from "../../gpu-backend/engine/byte-characters.ts";
import type { BlockChange, EngineKey, EngineRequest } from "../../gpu-backend/engine/engine.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { accepted, request } from "../conformance/engine-runs.ts";
import { type Body, openAiServer, type OpenAiServer, type ServerOptions } from "./openai-server.ts";
import { VllmPublisher } from "./vllm-publisher.ts";
import type { Packable } from "./vllm-recorded.ts";

export interface VllmServer extends OpenAiServer {
  publisher: VllmPublisher;
  /** Bodies of /tokenize. */
  tokenized: Body[];
  state: { is_paused?: boolean; is_sleeping?: boolean; drains?: boolean; tokenizesAfterMs?: number };
  /** Its process is gone: HTTP, sockets and cache. */
  kill(): Promise<void>;
  /** On the same ports, empty. */
  revive(): Promise<void>;
}

export interface VllmOptions extends ServerOptions {
  /** What /kv_event_sources says instead of the truth. */
  sources?: object;
  endpoints?: { live: string; replay: string };
}

interface Block {
  parent: EngineKey | null;
  tokens: number[];
  salt: string;
}

export async function vllmServer(options: VllmOptions = {}): Promise<VllmServer> {
  const publisher = new VllmPublisher(options.endpoints === undefined ? {} : { endpoints: options.endpoints });
  await publisher.open();
  const blocks = new Map<EngineKey, Block>();
  const tokenized: Body[] = [];
  async function first(path: string, body: Body, response: ServerResponse): Promise<boolean> {
    const said = (value: object): true => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(value));
      return true;
    };
    if (options.isVllm === false) return false;
    if (path === "/health") return said({});
    if (path === "/kv_event_sources") return said(options.sources ?? { "0": sourceOf(publisher) });
    if (path === "/pause" || path === "/resume") {
      server.state = { is_paused: path === "/pause" };
      return said({});
    }
    if (path === "/is_paused") return said({ is_paused: server.state.is_paused === true });
    if (path === "/is_sleeping") return said({ is_sleeping: server.state.is_sleeping === true });
    if (path === "/v1/completions" && server.state.drains === true) {
      server.bodies.push(body);
      response.writeHead(500).end();
      return true;
    }
    if (path !== "/tokenize") return false;
    tokenized.push(body);
    await pause(server.state.tokenizesAfterMs ?? 0);
    return body["return_token_strs"] === true && said(await spelt(server.engine, body["prompt"] as string));
  }

  async function runs(engine: LlamaEngine, asked: EngineRequest): Promise<void> {
    const prepared = await engine.kv.exchange.prepare(asked);
    if (prepared.type === "refused") return;
    const { blockTokens } = engine.card;
    for (const [index, key] of prepared.blockKeys.entries()) {
      const tokens = [...prepared.tokens.subarray(index * blockTokens, (index + 1) * blockTokens)];
      blocks.set(key, { parent: prepared.blockKeys[index - 1] ?? null, tokens, salt: asked.salt });
    }
  }

  const inner = await openAiServer({ ...options, first, runs });
  const close = inner.close.bind(inner);
  const server: VllmServer = Object.assign(inner, {
    publisher,
    tokenized,
    state: {},
    kill: async () => {
      const empty = new Promise<void>((resolve) => server.engine.onRestart(resolve));
      publisher.cut();
      await server.stop();
      process.kill(server.engine.processId ?? 0, "SIGKILL");
      await empty;
      publisher.begin();
    },
    revive: async () => {
      await publisher.open();
      await server.start();
    },
    close: async () => {
      publisher.cut();
      await close();
    },
  });
  let sent: Promise<void> = Promise.resolve();
  server.engine.kv.onResidency((changes) => {
    const events = changes.flatMap((change) => eventOf(change, blocks.get(change.key), server.engine.card.blockTokens));
    if (events.length > 0) sent = sent.then(() => publisher.events(events));
  });
  return server;
}

function sourceOf({ source: { live, replay } }: VllmPublisher): object {
  const bound = (endpoint: string | null): string => (endpoint ?? "").replace("127.0.0.1", "*");
  const on = { enable_kv_cache_events: true, publisher: "zmq", buffer_steps: 10_000 };
  return { ...on, endpoint: bound(live), replay_endpoint: bound(replay), topic: "kv@" };
}

/** Of blocks of prompts; what was generated is left out. */
function eventOf({ key, held }: BlockChange, block: Block | undefined, blockTokens: number): Packable[] {
  if (block === undefined) return [];
  if (!held) return [{ type: "BlockRemoved", block_hashes: [hashOf(key)], medium: "GPU", group_idx: 0 }];
  const { parent, tokens, salt } = block;
  const stored = { type: "BlockStored", block_hashes: [hashOf(key)], parent_block_hash: parent === null ? null : hashOf(parent) };
  const extra = parent === null && salt !== "" ? [salt] : null;
  return [
    {
      ...stored,
      token_ids: tokens,
      block_size: blockTokens,
      lora_id: null,
      medium: "GPU",
      lora_name: null,
      extra_keys: [extra],
      group_idx: 0,
    },
  ];
}

const hashOf = (key: EngineKey): bigint => BigInt(`0x${key.slice(-16)}`);

/** As the vocabulary spells each token. */
async function spelt(engine: LlamaEngine, prompt: string): Promise<object> {
  const asked = request(prompt, { maxTokens: 1, salt: "spelling" });
  const prepared = await engine.kv.exchange.prepare(asked);
  if (prepared.type === "refused") return {};
  const run = await accepted(engine, asked);
  let texts: string[] = [];
  for await (const event of run.events) {
    if (event.type !== "queued") continue;
    const bytes = Buffer.from(prompt);
    const ends = (await event.blocks?.tokenEnds) ?? new Uint32Array();
    texts = Array.from(ends, (end, index) =>
      Array.from(bytes.subarray(ends[index - 1] ?? 0, end), (byte) => byteCharacters[byte]).join(""),
    );
    break;
  }
  return { count: texts.length, tokens: [...prepared.tokens], token_strs: texts };
}
