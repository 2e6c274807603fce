/** The adapter before the tests' vLLM. */
import { setTimeout as pause } from "node:timers/promises";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { residencyOf } from "../../gpu-backend/engine/residency-state.ts";
import { openAdapter } from "../gpu-backend/openai-adapter.ts";
import type { VllmSetup } from "./vllm-process.ts";

/** Resolves when nothing of its residency is missing. */
export async function openVllm(
  { port, eventsPort, replayPort }: VllmSetup,
  settings: Readonly<Record<string, string>> = {},
): Promise<Engine> {
  const engine = await openAdapter(
    { url: `http://127.0.0.1:${port}` },
    {
      WARMPATH_ENGINE: "vllm",
      // Versions before 0.32 do not say it themselves.
      WARMPATH_KV_EVENTS: `tcp://127.0.0.1:${eventsPort}`,
      WARMPATH_KV_REPLAY: `tcp://127.0.0.1:${replayPort}`,
      ...settings,
    },
  );
  await until(() => residencyOf(engine).state === "exact", `its residency is not exact: ${JSON.stringify(residencyOf(engine))}`);
  return engine;
}

export async function until(condition: () => boolean, problem: string, ms = 30_000): Promise<void> {
  const endsAtMs = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > endsAtMs) throw new Error(problem);
    await pause(5);
  }
}
