/** Opens a server that speaks OpenAI's API as an engine, as the environment describes it. */
import { readFile } from "node:fs/promises";
import type { Environment } from "../../environment.ts";
import type { EngineCard, OpenedEngine } from "../engine.ts";
import { discover, type Found } from "./discovery.ts";
import { OpenAiEngine } from "./engine.ts";
import { marksOf } from "./marks.ts";
import { ServerLink } from "./server-link.ts";
import { type OpenAiSettings, readSettings } from "./settings.ts";

/** Connections beside those of runs: to count, to tokenize, to probe. */
const MORE_CONNECTIONS = 8;
/** vLLM's on GPUs. */
const USUAL_BLOCK_TOKENS = 16;

export async function open(environment: Environment): Promise<OpenedEngine> {
  const read = readSettings(environment);
  if (!read.ok) return { type: "misconfigured", message: read.message };
  const settings = read.values;
  const link = new ServerLink(settings.url, settings.key, settings.sequences + MORE_CONNECTIONS);
  const opened = await openOn(link, settings);
  if (opened.type !== "opened") await link.close();
  return opened;
}

async function openOn(link: ServerLink, settings: OpenAiSettings): Promise<OpenedEngine> {
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
  return { type: "opened", engine: new OpenAiEngine({ link, kind, serverModel: model, tokenizes, card }) };
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
