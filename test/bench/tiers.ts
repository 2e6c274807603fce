/** `node test/bench/tiers.ts`: what KV that rests below the device, or at a peer, saves until the first token. Needs a quiet machine. */
import { writeResult } from "./result.ts";
import { measurePrefix, type PrefixRow, prefixParameters } from "./tiers/prefix.ts";
import { measureWorkingSet, type WorkingSetRow, workingSetParameters } from "./tiers/working-set.ts";

const NOTES = [
  "prefix: in-process calls of the engine (prepare, load, submit with restore), no HTTP in front; peer and store are processes on loopback",
  "prefix: what the disk tier reads was written in the same run, so it comes from the page cache",
  "working set: end to end through the edge",
];

const prefix = await measurePrefix();
const workingSet = await measureWorkingSet();
const parameters = { prefix: prefixParameters, workingSet: workingSetParameters, notes: NOTES };
const file = writeResult<PrefixRow | WorkingSetRow>("tiers", parameters, [...prefix, ...workingSet]);
console.table(prefix.map(({ ttftMs, ...row }) => ({ ...row, repeats: ttftMs.length })));
console.table(workingSet.filter(({ pass }) => pass === "all"));
console.log(file);
