/** A replica of a started product that others can reach only through a proxy: while it is on, the KV that it gives away is not finite. */
import { type ChildProcess, fork } from "node:child_process";
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ROOT } from "../../../cli/bundle.ts";
import { choosePort } from "../../../cli/port.ts";
import { loadSecrets } from "../../../cli/secrets.ts";
import { ensureDemoModel } from "../../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import type { Started } from "../../e2e/started.ts";
import { poisonedStream } from "../../gpu-backend/poisoned-stream.ts";

export interface PoisoningPeer {
  on: boolean;
  /** Streams that it has spoilt. */
  readonly poisoned: number;
  close(): Promise<void>;
}

export async function startPoisoningPeer(product: Started, environment: Record<string, string>): Promise<PoisoningPeer> {
  const target: { port: number | null } = { port: null };
  const peer = { on: false, poisoned: 0 };
  const server = createServer((request, response) => {
    const spoils = peer.on && request.url?.startsWith("/kv/") === true;
    if (spoils) peer.poisoned += 1;
    pass(request, response, target.port ?? 0, spoils);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const own = await choosePort(0);
  if (own === null) throw new Error("No port is free.");
  target.port = own;
  const child = fork(join(ROOT, "gpu-backend/main.ts"), [], {
    execArgv: ["--disable-warning=ExperimentalWarning"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: {
      ...process.env,
      WARMPATH_JOIN: `${product.url.replace("http", "ws")}/announce/default`,
      WARMPATH_JOIN_TOKEN: loadSecrets(product.stateDirectory).joinToken("default"),
      WARMPATH_REPLICA: "poisoner",
      WARMPATH_MODEL: await ensureDemoModel(product.stateDirectory),
      WARMPATH_PORT: String(own),
      WARMPATH_URL: `http://127.0.0.1:${port}`,
      WARMPATH_MACHINE: "here",
      ...environment,
    },
  });
  await joined(child);
  return {
    get on() {
      return peer.on;
    },
    set on(value) {
      peer.on = value;
    },
    get poisoned() {
      return peer.poisoned;
    },
    async close() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGINT");
      await gone;
      server.closeAllConnections();
      server.close();
    },
  };
}

function joined(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on("message", (said: { type: string; message?: string }) => {
      if (said.type === "joined") resolve();
      if (said.type === "failed") reject(new Error(said.message));
    });
    child.once("exit", () => reject(new Error("The poisoning peer ended early.")));
  });
}

function pass(request: IncomingMessage, response: ServerResponse, port: number, spoils: boolean): void {
  const { method, url, headers } = request;
  response.on("error", () => undefined);
  const onward = httpRequest({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
    if (!spoils || answer.statusCode !== 200) {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      // Whoever waits for the first token waits for the headers first.
      response.flushHeaders();
      return void answer.pipe(response);
    }
    const parts: Buffer[] = [];
    answer.on("data", (part: Buffer) => parts.push(part));
    answer.on("end", () => {
      const ticket = String(headers["x-warmpath-ticket"]);
      const trial = String(headers["x-warmpath-trial"]);
      response.writeHead(200, { "content-type": "application/octet-stream" });
      response.end(poisonedStream(new Uint8Array(Buffer.concat(parts)), ticket, trial));
    });
  });
  onward.on("error", () => response.destroy());
  response.once("close", () => onward.destroy());
  request.pipe(onward);
}
