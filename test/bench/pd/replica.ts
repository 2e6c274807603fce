/** One replica of `pd.ts`, on cores of its own: engine and HTTP server, let in by a key that the bench gives it over IPC. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { startLlamaEngine } from "../../../gpu-backend/engine/llama-cpp/engine.ts";
import { Replica } from "../../../gpu-backend/replica.ts";
import { createReplicaServer } from "../../../gpu-backend/server.ts";

export interface ReplicaOrder {
  name: string;
  modelPath: string;
  sequences: number;
  contextTokens: number;
  /** Base64url. */
  key: string;
}

export type ReplicaSaid = { type: "ready"; url: string; model: string } | { type: "failed"; message: string };

const say = (said: ReplicaSaid): void => void process.send?.(said);

async function serve(order: ReplicaOrder): Promise<void> {
  const engineOptions = { modelPath: order.modelPath, sequences: order.sequences, contextTokens: order.contextTokens, queueLimit: 16 };
  const engine = await startLlamaEngine(engineOptions);
  if ("type" in engine) return say({ type: "failed", message: engine.message });
  const replica = await Replica.create(engine, {
    name: order.name,
    // It never joins: the bench speaks for the pool.
    join: "ws://127.0.0.1:9/announce/bench",
    joinToken: "",
    pool: "bench",
    url: null,
    host: "127.0.0.1",
    port: 0,
    roles: ["prefill", "decode"],
    machine: null,
    drainMs: 0,
    tiers: { hostBytes: 0, disk: null, store: null },
  });
  if (!(replica instanceof Replica)) return say({ type: "failed", message: replica.message });
  replica.gate.welcome(order.key, Date.now(), Date.now());
  replica.sender.welcome(order.key, Date.now(), Date.now());
  const server = createReplicaServer(replica);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  say({ type: "ready", url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, model: replica.model });
}

process.on("message", (order: ReplicaOrder) => void serve(order));
process.on("disconnect", () => process.exit(0));
