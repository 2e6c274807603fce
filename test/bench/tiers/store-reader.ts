/** Reads one block again and again from a store that fails, and says what memory that took; a process of its own, so that nothing else is counted. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createStoreTier } from "../../../gpu-backend/blocks/store-tier.ts";
import { keyOf, sealedOf, kvSpace } from "../../conformance/tier-blocks.ts";
import { storeAt } from "../../conformance/tier-store.ts";

const MIB = 2 ** 20;

export interface ReaderOrder {
  endpoint: string;
  calls: number;
  /** Tokens of a block; 24 bytes each. */
  tokens: number;
  timeoutMs: number;
  /** Reads at once. */
  parallel: number;
  /** Samples over all calls. */
  samples: number;
}

export interface MemorySample {
  calls: number;
  /** After a collection; all in MiB. */
  rssMib: number;
  heapMib: number;
  /** What V8 has taken for its heap, the young generation included. */
  heapTotalMib: number;
  externalMib: number;
  buffersMib: number;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

async function memory(calls: number): Promise<MemorySample> {
  for (let n = 0; n < 3; n++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { rss, heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
  const mib = (bytes: number): number => Math.round((bytes / MIB) * 10) / 10;
  return {
    calls,
    rssMib: mib(rss),
    heapMib: mib(heapUsed),
    heapTotalMib: mib(heapTotal),
    externalMib: mib(external),
    buffersMib: mib(arrayBuffers),
  };
}

async function read({ endpoint, calls, tokens, timeoutMs, parallel, samples }: ReaderOrder): Promise<MemorySample[]> {
  let nowMs = 0;
  // Every call comes after the breaker's pause.
  const tier = createStoreTier({
    ...storeAt(endpoint),
    prefix: "faults",
    kvSpace,
    budgetBytes: 2 ** 30,
    now: () => (nowMs += 60_000),
    timeoutMs,
  });
  const key = keyOf("a");
  await tier.put(sealedOf("a", null, tokens));
  const seen = [await memory(0)];
  const every = Math.ceil(calls / samples);
  for (let done = 0; done < calls;) {
    const upTo = Math.min(calls, done + every);
    while (done < upTo) {
      await Promise.all(Array.from({ length: parallel }, () => tier.get(key)));
      done += parallel;
    }
    seen.push(await memory(done));
  }
  await tier.close();
  return seen;
}

process.on("message", (order: ReaderOrder) => void read(order).then((samples) => process.send?.(samples, () => process.exit(0))));
