/** The replicas of one start: what each is called, where it belongs, and what its environment says. Pool after pool, model after model. */
import { join } from "node:path";
import { modelVariables, type ServedModel } from "./models/served-models.ts";
import { poolNames, type ReplicaRole, roleOf, type StartOptions } from "./options.ts";
import type { Secrets } from "./secrets.ts";

export interface Place {
  name: string;
  pool: string;
  role: ReplicaRole;
  /** Index of its model. */
  model: number;
}

export function placesOf(options: Pick<StartOptions, "replicas" | "pools" | "models" | "topology">): Place[] {
  const { replicas, pools, topology } = options;
  return poolNames(options).flatMap((pool, index) =>
    Array.from({ length: replicas }, (_, number) => ({
      name: `replica-${index * replicas + number + 1}`,
      pool,
      role: roleOf(topology, number + 1),
      model: Math.floor(index / pools),
    })),
  );
}

interface FleetFacts {
  options: StartOptions;
  /** Of the edge. */
  port: number;
  secrets: Secrets;
  /** Of this process. What it was given reaches every replica as it is, but for what is said here. */
  given: NodeJS.ProcessEnv;
  /** Memory that one replica's KV may take where no context is named. */
  kvBytes: number;
}

export function variablesOf({ name, pool, role }: Place, model: ServedModel, facts: FleetFacts): Record<string, string> {
  const { options, port, secrets, given, kvBytes } = facts;
  const { stateDirectory, contextTokens } = options;
  return {
    // Compiling sources again is half of what a replica's start takes.
    NODE_COMPILE_CACHE: given["NODE_COMPILE_CACHE"] ?? join(stateDirectory, "compile-cache"),
    WARMPATH_JOIN: `ws://127.0.0.1:${port}/announce/${pool}`,
    WARMPATH_JOIN_TOKEN: secrets.joinToken(pool),
    WARMPATH_REPLICA: name,
    ...modelVariables(model, given),
    WARMPATH_ROLES: role,
    WARMPATH_MACHINE: "here",
    WARMPATH_DISK_DIRECTORY: join(given["WARMPATH_DISK_DIRECTORY"] ?? join(stateDirectory, "blocks"), name),
    WARMPATH_SEQUENCES: String(options.sequences),
    ...(contextTokens === null ? { WARMPATH_KV_BYTES: String(kvBytes) } : { WARMPATH_CONTEXT_TOKENS: String(contextTokens) }),
    WARMPATH_DRAIN_SECONDS: String(options.drainSeconds),
  };
}
