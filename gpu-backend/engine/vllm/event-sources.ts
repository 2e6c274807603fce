/** Where a vLLM announces what it holds: as its server says it (GET /kv_event_sources, since 0.32), or as it is configured here. */
import { z } from "zod";
import type { ServerLink } from "../openai/server-link.ts";

/** Of one data-parallel rank. Each has a prefix cache of its own. */
export interface EventSource {
  rank: number;
  /** A zeromq endpoint. */
  live: string;
  /** The engine connects to it, so it is bound here. */
  isBound: boolean;
  /** Where batches are sent again; null: nowhere. */
  replay: string | null;
  /** What the first frame of its messages begins with. */
  topic: string;
}

/** none: its server says that it announces nothing, or nothing at all. */
type FoundSources = { type: "found"; sources: EventSource[] } | { type: "none" };

const PROBE_MS = 5_000;
const MAX_RANKS = 1_024;
const endpoint = z.string().regex(/^(?:tcp|ipc):\/\/[^\p{Cc}\s]{1,256}$/u);

const Sources = z.record(
  z.string().regex(/^\d{1,4}$/),
  z.object({
    enable_kv_cache_events: z.boolean().optional(),
    publisher: z.string().optional(),
    endpoint,
    replay_endpoint: endpoint.nullish(),
    topic: z.string().max(1_024).optional(),
  }),
);

/** @param engineUrl the server's own address: it knows only what it binds, so the host that was reached is put in. */
export async function findSources(link: ServerLink, engineUrl: string): Promise<FoundSources> {
  const answer = await link.call({ path: "/kv_event_sources", ms: PROBE_MS });
  if (answer.type === "failed" || answer.status !== 200) return { type: "none" };
  return readSources(answer.body, new URL(engineUrl).hostname);
}

export function readSources(body: unknown, host: string): FoundSources {
  const read = Sources.safeParse(body);
  if (!read.success) return { type: "none" };
  const sources = Object.entries(read.data)
    .filter(([, { enable_kv_cache_events: isOn, publisher }]) => isOn !== false && (publisher ?? "zmq") === "zmq")
    .slice(0, MAX_RANKS)
    .map(([rank, { endpoint: live, replay_endpoint: replay, topic }]): EventSource => ({
      rank: Number(rank),
      ...liveEndpoint(live, host),
      // The other socket is always bound by the engine.
      replay: replay == null || replay === "" ? null : reachable(replay, host),
      topic: topic ?? "",
    }));
  return sources.length === 0 ? { type: "none" } : { type: "found", sources };
}

/** As options name them: `@tcp://…` is bound here, as zeromq's own tools have it. */
export function configuredSource(events: string, replay: string | null, rank: number): EventSource {
  const isBound = events.startsWith("@");
  return { rank, live: isBound ? events.slice(1) : events, isBound, replay, topic: "" };
}

/** vLLM's publisher binds an endpoint with a wildcard, or of another transport; to any other it connects. */
function liveEndpoint(endpoint: string, host: string): Pick<EventSource, "live" | "isBound"> {
  const isBoundThere = /\*|::/.test(endpoint) || endpoint.startsWith("ipc://");
  return { live: isBoundThere ? reachable(endpoint, host) : endpoint, isBound: !isBoundThere };
}

/** `host`: of a URL, so that of IPv6 is in brackets. */
function reachable(endpoint: string, host: string): string {
  return endpoint.replace(/^tcp:\/\/(?:\*|0\.0\.0\.0|\[::\]|::)(?=:\d+$)/, `tcp://${host}`);
}
