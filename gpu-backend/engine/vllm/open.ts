/** Opens a vLLM server as an engine: as any server that speaks OpenAI's API, and its KV events are followed. */
import type { Environment } from "../../environment.ts";
import type { OpenedEngine } from "../opened.ts";
import { type FollowResult, type FoundServer, openServer } from "../openai/open.ts";
import { type EventSource, configuredSource, findSources } from "./event-sources.ts";
import { watchRest } from "./rest-watch.ts";
import { FollowedKv } from "./followed-kv.ts";
import { readVllmSettings, type VllmSettings } from "./settings.ts";

/** vLLM's own header: which data-parallel rank computes a request. */
const RANK_HEADER = "x-data-parallel-rank";

export async function open(environment: Environment): Promise<OpenedEngine> {
  const read = readVllmSettings(environment);
  if (!read.ok) return { type: "misconfigured", message: read.message };
  const { rank } = read.values;
  return openServer(environment, {
    headers: rank === null ? {} : { [RANK_HEADER]: String(rank) },
    follow: (server) => follow(server, read.values),
    watch: watchRest,
  });
}

export type ChosenSource = { type: "source"; source: EventSource } | { type: "none"; why: string };

/** The sources of which this replica follows one; or why it follows none, a clause. */
export async function chooseSource({ link, url }: Pick<FoundServer, "link" | "url">, settings: VllmSettings): Promise<ChosenSource> {
  const { kvEvents, kvReplay, rank } = settings;
  if (kvEvents !== null) return { type: "source", source: configuredSource(kvEvents, kvReplay, rank ?? 0) };
  const found = await findSources(link, url);
  if (found.type === "none") return { type: "none", why: "its server names no source of KV events" };
  const { sources } = found;
  if (rank === null && sources.length > 1) {
    return { type: "none", why: `its engine has ${sources.length} data-parallel ranks: start a replica for each, with --rank` };
  }
  const source = sources.find((each) => each.rank === (rank ?? sources[0]?.rank));
  return source === undefined ? { type: "none", why: `its engine announces nothing of rank ${rank}` } : { type: "source", source };
}

async function follow({ link, url, found, card }: FoundServer, settings: VllmSettings): Promise<FollowResult> {
  if (found.kind !== "vllm") {
    return { type: "misconfigured", message: "WARMPATH_ENGINE: what answers at WARMPATH_ENGINE_URL is no vLLM; use openai" };
  }
  if (!found.tokenizes) return { type: "predicted", why: "its server does not tokenize" };
  const chosen = await chooseSource({ link, url }, settings);
  if (chosen.type === "none") return { type: "predicted", why: chosen.why };
  const zmq = await zeromq();
  if (zmq === null) return { type: "predicted", why: "the package zeromq is not installed, or not for this machine" };
  const { source } = chosen;
  const options = { link, model: found.model, adapter: found.adapter, blockTokens: card.blockTokens, zmq, source, timers };
  try {
    return { type: "followed", followed: await FollowedKv.open(options) };
  } catch {
    return { type: "misconfigured", message: `WARMPATH_KV_EVENTS: ${source.live} can't be ${source.isBound ? "bound" : "used"}` };
  }
}

/** Ours to load where events are followed only: it brings a library of its own. */
async function zeromq() {
  try {
    return await import("zeromq");
  } catch {
    return null;
  }
}

const timers = {
  after(ms: number, work: () => void): () => void {
    const timer = setTimeout(work, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
