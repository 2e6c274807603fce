/** One replica: an engine in its child process, an HTTP server for the edge, and a socket on which it announces what it holds. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { readConfig } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import { startLlamaEngine } from "./engine/llama-cpp/engine.ts";
import { OpenRequests } from "./open-requests.ts";
import { Replica } from "./replica.ts";
import { createReplicaServer } from "./server.ts";

/** From the end of the drain to that of the process. */
const LEAVE_MS = 3_500;
/** For error events on their way out. */
const LAST_WORDS_MS = 1_000;

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
const requests = new OpenRequests(server);
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

/** Ends the drain before its time. */
const cut = Promise.withResolvers<void>();
let leaving = false;

/** Takes nothing new, and goes when what runs here has ended, its time is up, or it is cut: then streams end with an error event. */
async function leave(): Promise<void> {
  leaving = true;
  replica.drain();
  const idle = requests.idle();
  await Promise.race([idle, cut.promise, sleep(config.drainMs, undefined, { ref: false })]);
  // Whatever hangs now (a store that is down, a socket that takes nothing) holds nobody up.
  setTimeout(() => process.exit(0), LEAVE_MS).unref();
  if (requests.count > 0) await engine.close();
  await Promise.race([idle, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
  await replica.close();
  server.close();
  server.closeAllConnections();
  await engine.close();
  process.exit(0);
}

process.on("SIGTERM", () => (leaving ? cut.resolve() : void leave()));
process.on("SIGINT", () => {
  cut.resolve();
  if (!leaving) void leave();
});
// The launcher is gone, however it went.
process.on("disconnect", () => process.exit(0));
