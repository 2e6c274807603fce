/** The one place that chooses an engine: by `WARMPATH_ENGINE`. A new engine is its folder and its line here. */
import type { Environment } from "../environment.ts";
import type { OpenedEngine, OpenEngine } from "./opened.ts";

const ENGINES: Readonly<Record<string, () => Promise<{ open: OpenEngine }>>> = {
  "llama-cpp": () => import("./llama-cpp/open.ts"),
  openai: () => import("./openai/open.ts"),
  vllm: () => import("./vllm/open.ts"),
};
const DEFAULT_ENGINE = "llama-cpp";

/** `environment`: names the engine, and has the settings that it reads by its own schema. */
export async function openEngine(environment: Environment): Promise<OpenedEngine> {
  const name = environment["WARMPATH_ENGINE"] ?? DEFAULT_ENGINE;
  const load = Object.hasOwn(ENGINES, name) ? ENGINES[name] : undefined;
  if (load === undefined) {
    const known = Object.keys(ENGINES).join(", ");
    return { type: "misconfigured", message: `WARMPATH_ENGINE: there is no engine ${JSON.stringify(name)}; there is ${known}` };
  }
  const { open } = await load();
  return open(environment);
}
