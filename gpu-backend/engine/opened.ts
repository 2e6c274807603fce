/** How an engine comes to be. */
import type { Environment } from "../environment.ts";
import type { Engine } from "./engine.ts";

/** misconfigured: a setting is missing or wrong; the message names it. unavailable: it can't run here, and why, in a sentence. */
export type OpenedEngine = { type: "opened"; engine: Engine } | { type: "misconfigured" | "unavailable"; message: string };

/** Every engine's folder has one: reads its own settings, starts the engine and waits until it serves. */
export type OpenEngine = (environment: Environment) => Promise<OpenedEngine>;
