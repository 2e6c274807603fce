/** One replica: an engine, an HTTP server for the edge, and a socket on which it announces what it holds. */
import { once } from "node:events";
import { flushCompileCache } from "node:module";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { openEngine } from "./engine/open-engine.ts";
import type { Replica } from "./replica.ts";
import { sendLogTo } from "./operator-log.ts";

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

// A launcher decides what of it is shown, and keeps all of it.
if (process.send !== undefined) {
  sendLogTo(
    (line, what) => process.send?.({ type: "news", line, what }),
    (part) => process.send?.({ type: "loading", part }),
  );
}

const wrong = (message: string): string => `The replica's configuration is wrong: ${message}`;

// The launcher is gone, however it went and whatever is done here: the engine's process goes with this one.
process.on("disconnect", () => process.exit(0));

// The engine is the slowest: it starts while all else is loaded.
const opening = openEngine(process.env);
const { readConfig } = await import("./config.ts");
const read = readConfig(process.env);
if (!read.ok) fail(wrong(read.message));
const { config } = read;

const [{ OpenRequests }, { Replica: ReplicaOf }, { createReplicaServer }] = await Promise.all([
  import("./open-requests.ts"),
  import("./replica.ts"),
  import("./server.ts"),
]);
const opened = await opening;
if (opened.type !== "opened") fail(opened.type === "misconfigured" ? wrong(opened.message) : opened.message);
const { engine } = opened;

const created = await ReplicaOf.create(engine, config);
if (!(created instanceof ReplicaOf)) fail(created.message);
const replica: Replica = created;
const server = createReplicaServer(replica, (served) => process.send?.({ type: "request", served }));
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
replica.join(url, (ready) => {
  process.send?.({ type: ready ? "joined" : "parted", name: config.name, url });
  // A process that is killed writes nothing at its end. Without NODE_COMPILE_CACHE there is nothing to write.
  flushCompileCache();
});

/** Ends the drain before its time. */
const cut = Promise.withResolvers<void>();
let leaving = false;

/** Takes nothing new, and goes when what runs here has ended, its time is up, or it is cut: then streams end with an error event. */
async function leave(): Promise<void> {
  leaving = true;
  replica.drain();
  const idle = requests.idle();
  await Promise.race([idle, cut.promise, sleep(config.drainMs, undefined, { ref: false })]);
  // What hangs now (a store that is down, a socket that takes nothing) does not delay the exit.
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
