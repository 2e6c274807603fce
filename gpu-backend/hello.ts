/** How a replica introduces itself to its pool. */
import { type Hello, PROTOCOL_VERSION } from "../src/wire/control.ts";
import type { ReplicaConfig } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import type { Prompts } from "./prompts.ts";

type Introduction = Omit<Hello, "seq" | "running" | "type">;

/** `epoch`: of the life that begins or goes on. */
export function helloOf(
  config: ReplicaConfig,
  { card, kv }: Pick<Engine, "card" | "kv">,
  { hashSpec, exact }: Prompts,
  url: string,
  epoch: number,
): Introduction {
  const { model, sequences, kvTokens, blockTokens, contextTokens, queueLimit, stepTokens, longestTokenBytes } = card;
  return {
    protocol: PROTOCOL_VERSION,
    pool: config.pool,
    replica: config.name,
    epoch,
    url,
    roles: config.roles,
    transfers: kv !== null && kv.exchange !== null,
    ...(config.machine === null ? {} : { machine: config.machine }),
    model,
    hashSpec: { ...hashSpec, schedule: [...hashSpec.schedule] },
    anchors: exact && kv !== null ? "exact" : "predicted",
    capacity: {
      sequences,
      kvTokens,
      blockTokens,
      contextTokens,
      queueLimit,
      stepTokens,
      // A template that fits no order may leave texts out, and then a prompt's bytes show nothing.
      ...(exact ? { longestTokenBytes } : {}),
    },
    token: config.joinToken,
  };
}
