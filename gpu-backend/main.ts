/** One replica: an engine in its child process, an HTTP server for the edge, and a socket on which it announces what it holds. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { readConfig } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import { startLlamaEngine } from "./engine/llama-cpp/engine.ts";
import { Replica } from "./replica.ts";
import { createReplicaServer } from "./server.ts";

const DRAIN_MS = 10_000;

function fail(message: string): never {
  // A launcher shows it once for all its replicas.
  if (process.send === undefined) process.stderr.write(`${message}\n`);
  else process.send({ type: "failed", message });
  process.exit(1);
}

const read = readConfig(process.env);
if (!read.ok) fail(`The replica's configuration is wrong: ${read.message}`);
const { config } = read;

const started = await startLlamaEngine(config);
if ("type" in started) fail(started.message);
const engine: Engine = started;

const created = await Replica.create(engine, config);
if (!(created instanceof Replica)) fail(created.message);
const replica: Replica = created;
const server = createReplicaServer(replica);
server.once("error", (error: NodeJS.ErrnoException) =>
  fail(
    error.code === "EADDRINUSE"
      ? `Port ${config.port} is taken; set WARMPATH_PORT to another.`
      : `The replica cannot listen: ${error.message}`,
  ),
);
server.listen(config.port, config.host);
await once(server, "listening");
const { port } = server.address() as AddressInfo;
const url = config.url ?? `http://${config.host}:${port}`;
replica.join(url, (joined) => process.send?.({ type: joined ? "joined" : "parted", name: config.name, url }));

let leaving = false;
async function leave(): Promise<void> {
  if (leaving) return;
  leaving = true;
  replica.drain();
  await Promise.race([replica.idle(), new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref())]);
  await replica.close();
  server.close();
  server.closeAllConnections();
  await engine.close();
  process.exit(0);
}
process.on("SIGTERM", () => void leave());
process.on("SIGINT", () => void leave());
// The launcher is gone, however it went.
process.on("disconnect", () => process.exit(0));
