/**
 * How fast running decodes go, from one heartbeat to the next: what is known of a replica's pace before the first of its answers ends, which takes minutes
 * where answers are long. When one ends its own report says it better.
 */
import type { RunningRequest } from "../pool/frames.ts";
import { type LoadReading, meansBetween } from "../pool/load.ts";
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import type { DecodeReport } from "./rate-reports.ts";

interface Beat {
  reading: LoadReading;
  /** Tokens written so far, by lease. */
  outputs: ReadonlyMap<string, number>;
  /** Since then a decode has ended. */
  told: boolean;
}

export class DecodeWatch {
  readonly #beats: (Beat | undefined)[] = Array.from({ length: MAX_REPLICAS });

  /** A decode has ended there, with a report of its own. */
  ended(slot: number): void {
    const beat = this.#beats[slot];
    if (beat !== undefined) beat.told = true;
  }

  /** @param reading of the replica's load, now. Null: nothing to say. */
  heard(slot: number, running: readonly RunningRequest[], reading: LoadReading): DecodeReport | null {
    const outputs = new Map<string, number>();
    for (const { id, attempt, outputTokens = 0 } of running) if (outputTokens > 0) outputs.set(`${attempt} ${id}`, outputTokens);
    const before = this.#beats[slot];
    this.#beats[slot] = { reading, outputs, told: false };
    if (before === undefined || before.told) return null;
    const means = meansBetween(before.reading, reading);
    const steps = medianOf(
      [...outputs].flatMap(([key, tokens]) => {
        const had = before.outputs.get(key);
        return had === undefined ? [] : [tokens - had];
      }),
    );
    return means === null || steps === null ? null : { outputTokens: steps + 1, decodeMs: reading.atMs - before.reading.atMs, ...means };
  }

  forget(slot: number): void {
    this.#beats[slot] = undefined;
  }
}

/** Of an even number the lower one; null of none. */
function medianOf(values: readonly number[]): number | null {
  return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1] ?? null;
}
