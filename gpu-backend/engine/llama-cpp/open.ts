/** Opens the embedded engine as its environment describes it. */
import type { Environment } from "../../environment.ts";
import type { OpenedEngine } from "../opened.ts";
import { forkEngine } from "./child.ts";

export async function open(environment: Environment): Promise<OpenedEngine> {
  // Each of the two processes takes about half of a replica's start to load its code: they do it side by side.
  const forked = forkEngine();
  const [{ readSettings }, { startLlamaEngine }] = await Promise.all([import("./settings.ts"), import("./engine.ts")]);
  const settings = readSettings(environment);
  if (!settings.ok) {
    forked.process.kill("SIGKILL");
    return { type: "misconfigured", message: settings.message };
  }
  const engine = await startLlamaEngine(settings.values, forked);
  return "message" in engine ? engine : { type: "opened", engine };
}
