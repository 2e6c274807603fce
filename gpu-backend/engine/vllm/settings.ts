/** The settings of the adapter to vLLM from its environment, beyond those of every server (openai/settings.ts). */
import { z } from "zod";
import { type Environment, type EnvironmentRead, readEnvironment } from "../../environment.ts";

const endpoint = z.string().regex(/^@?(?:tcp|ipc):\/\/\S{1,256}$/, "must be a zeromq endpoint, as tcp://127.0.0.1:5557");

const Settings = z.object({
  /** Where the engine announces what it holds; by default what its server says. With @ before it, it is bound here and the engine connects. */
  WARMPATH_KV_EVENTS: endpoint.optional(),
  /** Where it sends again what was missed. */
  WARMPATH_KV_REPLAY: endpoint.regex(/^[^@]/, "the engine binds it").optional(),
  /** The data-parallel rank that this replica is; its requests are pinned to that one. Required where the engine has several. */
  WARMPATH_ENGINE_RANK: z.coerce.number().int().min(0).max(1_023).optional(),
});

export interface VllmSettings {
  kvEvents: string | null;
  kvReplay: string | null;
  rank: number | null;
}

export function readVllmSettings(environment: Environment): EnvironmentRead<VllmSettings> {
  const read = readEnvironment(Settings, environment);
  if (!read.ok) return read;
  const { WARMPATH_KV_EVENTS: kvEvents, WARMPATH_KV_REPLAY: kvReplay, WARMPATH_ENGINE_RANK: rank } = read.values;
  return { ok: true, values: { kvEvents: kvEvents ?? null, kvReplay: kvReplay ?? null, rank: rank ?? null } };
}
