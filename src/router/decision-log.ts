/** Keeps each decision, what came of it, and where reuse was lost: a subscriber to the pool's events (events.ts). */
import type { Funnels } from "../explain/funnel.ts";
import type { ExplainRing } from "../explain/ring.ts";
import type { PoolEvent } from "./events.ts";

export function keep(ring: ExplainRing, funnels: Funnels, event: PoolEvent): void {
  switch (event.kind) {
    case "placed":
      if (event.sight !== null) funnels.placed(event.record, event.record.tenant, event.sight);
      return ring.add(event.record);
    case "decoding":
      ring.complete(event.key.id, event.key.attempt, event.outcome);
      return;
    case "settled": {
      const { key, cachedTokens, promptTokens, outputTokens } = event;
      funnels.settled(key, event);
      ring.complete(key.id, key.attempt, { cachedTokens, promptTokens, outputTokens, ended: "settled" });
      return;
    }
    case "released":
      // The record of one that its replica refused stays open, and so does that of one that its replica no longer names.
      if (event.by === "edge") ring.complete(event.key.id, event.key.attempt, { ended: "released" });
      return;
    case "expired":
      if (event.cause === "time") ring.complete(event.key.id, event.key.attempt, { ended: "expired" });
  }
}
