/** Opens a server that speaks OpenAI's API as an engine, as the environment describes it. */
import { readFile } from "node:fs/promises";
import type { Environment } from "../../environment.ts";
import type { EngineCard } from "../engine.ts";
import type { OpenedEngine } from "../opened.ts";
import { discover, type Found } from "./discovery.ts";
import { OpenAiEngine } from "./engine.ts";
import type { Followed } from "./followed.ts";
import { marksOf } from "./marks.ts";
import { ServerLink } from "./server-link.ts";
import { type OpenAiSettings, readSettings } from "./settings.ts";

/** Connections beside those of runs: to count, to tokenize, to probe. */
const MORE_CONNECTIONS = 8;
/** vLLM's on GPUs. */
const USUAL_BLOCK_TOKENS = 16;

/** What is to be known of a server beyond OpenAI's API. */
export interface Beyond {
  /** Of every call. */
  headers: Readonly<Record<string, string>>;
  /** Follows what the server holds; or a clause that says why this is not possible. */
  follow(server: FoundServer): Promise<FollowResult>;
  /** Calls `onRest` when the server takes nothing new although it answers, and with null when it does again; returns what ends that. */
  watch?: (link: ServerLink, onRest: (why: string | null) => void) => () => void;
}

export interface FoundServer {
  link: ServerLink;
  url: string;
  found: Found;
  card: EngineCard;
}

export type FollowResult =
  | { type: "followed"; followed: Followed }
  | { type: "predicted"; why: string }
  | Extract<OpenedEngine, { message: string }>;

const NOTHING_BEYOND: Beyond = {
  headers: {},
  follow: () => Promise.resolve({ type: "predicted", why: "its server does not say what it holds" }),
};

export function open(environment: Environment): Promise<OpenedEngine> {
  return openServer(environment, NOTHING_BEYOND);
}

export async function openServer(environment: Environment, beyond: Beyond): Promise<OpenedEngine> {
  const read = readSettings(environment);
  if (!read.ok) return { type: "misconfigured", message: read.message };
  const settings = read.values;
  const link = new ServerLink(settings.url, settings.key, settings.sequences + MORE_CONNECTIONS, beyond.headers);
  const opened = await openOn(link, settings, beyond);
  if (opened.type !== "opened") await link.close();
  return opened;
}

async function openOn(link: ServerLink, settings: OpenAiSettings, beyond: Beyond): Promise<OpenedEngine> {
  const found = await discover(link, settings.model);
  if (found.type === "unavailable") return found;
  const template = await templateOf(settings, found);
  if (typeof template !== "string") return template;
  const contextTokens = settings.contextTokens ?? found.contextTokens;
  if (contextTokens === null) return misconfigured("WARMPATH_CONTEXT_TOKENS: the engine's server does not say how long its context is");
  const sequences = found.sequences === null ? settings.sequences : Math.min(settings.sequences, found.sequences);
  const card: EngineCard = {
    model: found.model,
    contextTokens,
    blockTokens: settings.blockTokens ?? found.cache.blockTokens ?? USUAL_BLOCK_TOKENS,
    sequences,
    kvTokens: settings.kvTokens ?? found.cache.kvTokens ?? sequences * contextTokens,
    queueLimit: settings.queueLimit,
    chatTemplate: template,
    // The server itself puts before a prompt what its model wants there.
    specialTokens: { bos_token: "" },
    ...(found.tokenizes ? { marks: await marksOf(link, found.model, template) } : {}),
    release: `${found.kind} ${found.version ?? "of an unknown version"}`,
  };
  const { kind, model, tokenizes } = found;
  const follow = await beyond.follow({ link, url: settings.url, found, card });
  if ("message" in follow) return follow;
  return { type: "opened", engine: new OpenAiEngine({ link, kind, serverModel: model, tokenizes, card, follow, watch: beyond.watch }) };
}

async function templateOf({ templatePath }: OpenAiSettings, found: Found): Promise<string | OpenedEngine> {
  if (templatePath === null) {
    return (
      found.chatTemplate ??
      misconfigured("WARMPATH_CHAT_TEMPLATE: the engine's server does not give its chat template; name the model's file")
    );
  }
  try {
    return await readFile(templatePath, "utf8");
  } catch {
    return misconfigured(`WARMPATH_CHAT_TEMPLATE: ${templatePath} cannot be read`);
  }
}

function misconfigured(message: string): OpenedEngine {
  return { type: "misconfigured", message };
}
