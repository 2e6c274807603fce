/** An engine run whose KV is fetched first: it counts as accepted at once, so that the edge need not wait for another replica's prefill. */
import type { EngineEvent, EngineRefusal, EngineRun } from "./engine/engine.ts";

/** `begin` fetches and runs; its signal ends both. A run that is refused then ends with "error", and the edge asks another replica. */
export function suppliedRun(begin: (signal: AbortSignal) => Promise<EngineRun | EngineRefusal>): EngineRun {
  const stop = new AbortController();
  let run: EngineRun | null = null;
  async function* events(): AsyncGenerator<EngineEvent> {
    const begun = await begin(stop.signal);
    if (begun.type === "refused") {
      yield ended(stop.signal.aborted ? "cancelled" : "error", begun.message);
      return;
    }
    run = begun;
    if (stop.signal.aborted) run.abort();
    yield* begun.events;
  }
  return {
    type: "accepted",
    events: events(),
    abort() {
      stop.abort();
      run?.abort();
    },
  };
}

function ended(reason: "error" | "cancelled", message: string): EngineEvent {
  const nothing = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, prefillMs: 0, decodeMs: 0, stopText: null };
  return { type: "finished", reason, ...nothing, message };
}
