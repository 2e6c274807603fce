/** `node test/bench/tiers.ts [--only check|logits|memory]`: what KV that rests below the device, or at a peer, saves until the first token. Needs a quiet machine. */
import { parseArgs } from "node:util";
import { writeResult } from "./result.ts";
import { type CheckRow, measureCheck } from "./tiers/check-cost.ts";
import { logitParameters, measureLogits } from "./tiers/logit-cost.ts";
import { measurePrefix, type PrefixRow, prefixParameters } from "./tiers/prefix.ts";
import { modelFile, SHAPE, startEngine } from "./tiers/rig.ts";
import { measureStoreMemory, memoryParameters, type MemoryRow } from "./tiers/store-memory.ts";
import { measureWorkingSet, type WorkingSetRow, workingSetParameters } from "./tiers/working-set.ts";

/** Of the engine that the other parts run. */
async function checkRows(): Promise<CheckRow[]> {
  const engine = await startEngine(await modelFile());
  const rows = measureCheck(engine.kv.exchange.card);
  await engine.close();
  return rows;
}

const NOTES = [
  "prefix: in-process calls of the engine (prepare, load, import), no HTTP in front; peer and store are processes on loopback",
  "prefix: what the disk tier reads was written in the same run, so it comes from the page cache",
  "working set: end to end through the edge",
];

/** Before the first read, after the first sample, and at the end. */
function memoryTable(rows: readonly MemoryRow[]): Record<string, unknown>[] {
  return rows.map(({ fault, limit, samples }) => {
    const at = (index: number): string => {
      const { calls = 0, rssMib = 0, heapMib = 0, heapTotalMib = 0 } = samples.at(index) ?? {};
      return `${rssMib} (heap ${heapMib} of ${heapTotalMib}) after ${calls}`;
    };
    return { fault, limit, first: at(0), half: at(Math.floor(samples.length / 2)), last: at(-1) };
  });
}

const { values } = parseArgs({ options: { only: { type: "string" } } });
if (values.only === "logits") {
  const logits = await measureLogits();
  for (const { model, of, ...row } of logits) console.log(model, of, row);
  console.log(writeResult("tiers-logits", logitParameters, logits));
  process.exit(0);
}
if (values.only === "memory") {
  const memory = await measureStoreMemory();
  console.table(memoryTable(memory));
  console.log(writeResult("tiers-memory", memoryParameters, memory));
  process.exit(0);
}
const check = await checkRows();
console.table(check);
if (values.only === "check") {
  console.log(writeResult("tiers-check", { shape: SHAPE }, check));
  process.exit(0);
}
const prefix = await measurePrefix();
const workingSet = await measureWorkingSet();
const parameters = { prefix: prefixParameters, workingSet: workingSetParameters, notes: NOTES };
const file = writeResult<CheckRow | PrefixRow | WorkingSetRow>("tiers", parameters, [...check, ...prefix, ...workingSet]);
console.table(prefix.map(({ ttftMs, ...row }) => ({ ...row, repeats: ttftMs.length })));
console.table(workingSet.filter(({ pass }) => pass === "all"));
console.log(file);
