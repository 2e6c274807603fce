/** A replica whose HTTP answers a test writes by hand, byte by byte, in a pool of a real edge. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AdmissionGate } from "../../gpu-backend/admission-gate.ts";
import { announce } from "../../gpu-backend/announce.ts";
import { DEFAULT_SCHEDULE } from "../../src/prefix/segment.ts";
import { PROTOCOL_VERSION, type Running } from "../../src/wire/control.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { nonceOf } from "../../src/wire/way-back.ts";
import { POOL, type SoakEdge } from "../bench/soak/edge-process.ts";
import { until } from "./started.ts";

export const SCRIPTED_MODEL = "scripted";

/** Answers a request; `attempt` counts from 1 those that this script has got. */
export type Script = (response: ServerResponse, attempt: number) => void;

export interface ScriptedReplica {
  /** For the requests whose body has this word in it. */
  on(word: string, script: Script): void;
  close(): Promise<void>;
}

export async function startScriptedReplica(edge: SoakEdge): Promise<ScriptedReplica> {
  const scripts = new Map<string, Script>();
  const attempts = new Map<string, number>();
  const running = new Map<string, Running>();
  const gate = new AdmissionGate();
  const epoch = Date.now();
  gate.begin(epoch);
  const server = createServer((request, response) => {
    const nonce = nonceOf(request.url ?? "");
    if (nonce !== null) return void response.end(gate.prove(nonce));
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts).toString();
      const [word, script] = [...scripts].find(([known]) => body.includes(known)) ?? [];
      if (word === undefined || script === undefined) return void response.writeHead(500).end();
      const attempt = (attempts.get(word) ?? 0) + 1;
      attempts.set(word, attempt);
      const id = String(request.headers[HEADER.requestId]);
      running.set(id, { id, attempt, state: "started", outputTokens: 0 });
      response.once("close", () => {
        running.delete(id);
        const usage = { promptTokens: 1, cachedTokens: 0, outputTokens: 1, prefillMs: 1, decodeMs: 1 };
        announcer.lease({ event: "settled", id, attempt, reason: "stop", ...usage });
      });
      announcer.lease({ event: "started", id, attempt });
      script(response, attempt);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  let joined = false;
  const announcer = announce({
    join: `ws://127.0.0.1:${edge.port}/announce/${POOL}`,
    hello: () => ({
      protocol: PROTOCOL_VERSION,
      pool: POOL,
      replica: "scripted",
      epoch,
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      roles: ["prefill", "decode"],
      model: SCRIPTED_MODEL,
      hashSpec: { version: 1, schedule: [...DEFAULT_SCHEDULE], order: "system-then-tools" },
      anchors: "predicted",
      capacity: { sequences: 64, kvTokens: 1_000_000, blockTokens: 16, contextTokens: 8_192, queueLimit: 8 },
      token: edge.secrets.joinToken(POOL),
    }),
    running: () => [...running.values()],
    load: () => ({ usedKvTokens: 0 }),
    entries: () => [],
    entryCount: () => 0,
    onWelcome: ({ admissionKey, poolNowMs }) => gate.welcome(admissionKey, poolNowMs, Date.now()),
    onUnreached: (message) => process.stderr.write(`${message}\n`),
    onLeftOut: (message) => process.stderr.write(`${message}\n`),
    onTime: () => undefined,
    onCancel: () => undefined,
    onRefused: (message) => process.stderr.write(`${message}\n`),
    onState: (up) => (joined = up),
  });
  await until("the replica has joined", () => joined);
  await until("it is ready", async () => (await fetch(`${edge.url}/healthz`)).status === 200);
  return {
    on: (word, script) => void scripts.set(word, script),
    close: async () => {
      announcer.close();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
