/**
 * How long a schema can hold up the engine: the compile, llama.cpp's reading of the grammar, and each token's choice, on the demo model, for
 * the hardest schemas by hand and for random ones. Exits with 1 when one takes too long. `npm run fuzz:grammar -- [count] [seed]`
 */
import { tmpdir } from "node:os";
import { boot } from "../../gpu-backend/engine/llama-cpp/boot.ts";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import type { GrammarLimitsName } from "../../gpu-backend/engine/llama-cpp/grammar/limits.ts";
import { RunSampler } from "../../gpu-backend/engine/llama-cpp/sampling.ts";
import { Utf8Guard } from "../../gpu-backend/engine/llama-cpp/utf8-guard.ts";
import { plainSampling } from "../conformance/engine-runs.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { seededRandom } from "./conversations.ts";
import { hardSchemas, randomSchema } from "./grammar/schemas.ts";

/** What others may wait in the engine. */
const LONGEST_MS = 500;
/** What the next schema may wait in the thread. */
const LONGEST_COMPILE_MS = 2_000;
const TOKENS = 200;

const [count, seed] = [Number(process.argv[2] ?? 300), Number(process.argv[3] ?? 1)];
const modelPath = await ensureDemoModel(tmpdir());
const sizes = { sequences: 1, contextTokens: 512, blockTokens: 32, queueLimit: 1, prefillChunkTokens: 64 };
const booted = await boot({ modelPath, scratchDirectory: tmpdir(), ...sizes });
if (booted.type === "unavailable") throw new Error(booted.message);
const { addon, vocabulary } = booted;
const parts = { addon, vocabulary, utf8: new Utf8Guard(vocabulary), contextTokens: 512 };

/** Always the same logits: the grammar alone moves on. */
addon.context.initBatch(2);
const logit = addon.context.addToBatch(0, 0, Uint32Array.of(65, 66), Uint32Array.of(1))[0];
if (logit === undefined) throw new Error("no logits");
await addon.context.decodeBatch();

interface Timed {
  /** In a thread beside the engine. */
  compileMs: number;
  /** In the engine: the grammar is read, and each token's choice. */
  startMs: number;
  tokenMs: number;
  outcome: string;
}

async function time(schema: unknown, limits: GrammarLimitsName): Promise<Timed> {
  const began = performance.now();
  const compiled = compileGrammar({ type: "json_schema", schema, strict: true }, limits);
  const compileMs = performance.now() - began;
  if (compiled.type === "unsupported") return { compileMs, startMs: 0, tokenMs: 0, outcome: compiled.message.slice(0, 90) };
  const started = performance.now();
  const state = addon.makeGrammarState(addon.makeGrammar(compiled.gbnf));
  const { grammar: _, ...plain } = plainSampling;
  const request = {
    id: "r",
    prompt: "",
    salt: "",
    maxTokens: TOKENS,
    temperature: 1,
    topP: 1,
    seed,
    stop: [],
    ...plain,
    gbnf: compiled.gbnf,
  };
  const sampler = new RunSampler(parts, request, state);
  const startMs = performance.now() - started;
  let tokenMs = 0;
  let tokens = 0;
  for (; tokens < TOKENS; tokens += 1) {
    const before = performance.now();
    const token = await sampler.sample(logit as Exclude<typeof logit, undefined>).then(
      (choice) => choice.token,
      () => -1,
    );
    tokenMs = Math.max(tokenMs, performance.now() - before);
    if (token < 0 || addon.model.isEogToken(token)) break;
  }
  sampler.dispose();
  return { compileMs, startMs, tokenMs, outcome: `${tokens} tokens` };
}

let [worstCompileMs, worstEngineMs] = [0, 0];
async function measure(name: string, schema: unknown, told: boolean): Promise<void> {
  for (const limits of ["short", "wide"] as const) {
    const { compileMs, startMs, tokenMs, outcome } = await time(schema, limits);
    worstCompileMs = Math.max(worstCompileMs, compileMs);
    worstEngineMs = Math.max(worstEngineMs, startMs, tokenMs);
    const slow = compileMs > LONGEST_COMPILE_MS || Math.max(startMs, tokenMs) > LONGEST_MS;
    if (!told && !slow) continue;
    const figures = `compile ${compileMs.toFixed(0)} ms, start ${startMs.toFixed(0)} ms, token ${tokenMs.toFixed(0)} ms`;
    process.stdout.write(`${slow ? "SLOW " : ""}${name}${limits === "short" ? "" : ", wide"}: ${figures}; ${outcome}\n`);
    if (slow && !told) process.stdout.write(`${JSON.stringify(schema).slice(0, 300)}\n`);
  }
}

for (const [name, schema] of Object.entries(hardSchemas)) await measure(name, schema, true);
const random = seededRandom(seed);
for (let index = 0; index < count; index += 1) await measure(`random ${index}`, randomSchema(random, 4 ** (index % 7)), false);
const cases = `${count} random schemas and ${Object.keys(hardSchemas).length} others`;
process.stdout.write(`worst: engine ${worstEngineMs.toFixed(0)} ms, compile ${worstCompileMs.toFixed(0)} ms, of ${cases}\n`);
process.exit(worstEngineMs > LONGEST_MS || worstCompileMs > LONGEST_COMPILE_MS ? 1 : 0);
