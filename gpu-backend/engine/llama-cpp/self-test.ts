/** Proves at boot that this llama.cpp, this model and this machine do what prefix reuse relies on. */
import type { Addon, LogitIndex, Sampler } from "./binding.ts";
import { exportState, importBlocks, zeroSequence } from "./kv-cells.ts";
import { cutKvState, type KvState, type StateShape } from "./kv-state.ts";
import type { Vocabulary } from "./vocabulary.ts";

const sharedTokens = 64;
const promptTokens = 70;
const decodedTokens = 4;

type SelfTest = { type: "passed"; shape: StateShape } | { type: "failed"; message: string };

const spellings = ["Hello, world!  It's 12 o'clock.\r\n\tEnd", "naïve – 你好 🙂 עולם\n", "a\u00a0b"];

async function feed(addon: Addon, sequence: number, position: number, tokens: Uint32Array): Promise<LogitIndex> {
  addon.context.initBatch(tokens.length);
  const index = addon.context.addToBatch(sequence, position, tokens, Uint32Array.of(tokens.length - 1))[0];
  if (index === undefined) throw new Error("llama.cpp returned no logits");
  await addon.context.decodeBatch();
  return index;
}

/** Ends the prompt from `from` on and decodes greedily: all tokens with their logits and weights, for comparing. */
async function finishPrompt(addon: Addon, greedy: Sampler, sequence: number, prompt: Uint32Array, from: number): Promise<unknown[]> {
  const seen: unknown[] = [];
  let index = await feed(addon, sequence, from, prompt.subarray(from));
  for (let position = prompt.length; ; position++) {
    const [token, , , logits, weight] = await addon.context.sampleToken(index, greedy, false, false, [[], true, false, true, 5], true);
    seen.push(token, [...(logits ?? [])], weight);
    if (position === prompt.length + decodedTokens) return seen;
    index = await feed(addon, sequence, position, Uint32Array.of(token));
  }
}

/** More cells than the test's prompt fills, so that it computes beside some that were freed. */
const spoiltTokens = 128;

/** KV that is not finite, in cells that are then freed and zeroed. */
async function spoil(context: Addon["context"], sequence: number, state: KvState, scratch: string): Promise<void> {
  const { layout, streams } = state;
  const ones = (rowBytes: number): Buffer[] => Array.from({ length: layout.layers }, () => Buffer.alloc(spoiltTokens * rowBytes, 0xff));
  const block = { cells: spoiltTokens, keys: ones(layout.keyRowBytes), values: ones(layout.valueRowBytes) };
  await importBlocks(context, sequence, { layout, streams }, new Uint32Array(spoiltTokens), [block], scratch);
  await zeroSequence(context, sequence, { layout, streams }, scratch);
}

const failed = (message: string): SelfTest => ({ type: "failed", message });

async function testReuse(addon: Addon, vocabularySize: number, sequences: number, scratch: string): Promise<SelfTest> {
  const prompt = Uint32Array.from({ length: promptTokens }, (_, i) => (i * 7919 + 13) % Math.min(vocabularySize, 256));
  const target = sequences > 1 ? 1 : 0;
  const greedy = addon.makeSampler();
  greedy.applyConfig({ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 });
  try {
    await feed(addon, 0, 0, prompt.subarray(0, sharedTokens));
    const computed = await finishPrompt(addon, greedy, 0, prompt, sharedTokens);
    if (!addon.context.removeTokenCellsFromSequence(0, promptTokens, -1))
      return failed("llama.cpp cannot shorten a sequence of this model");
    const state = await exportState(addon.context, 0, [...prompt], scratch);
    addon.context.disposeSequence(0);
    await importBlocks(addon.context, target, state, prompt.subarray(0, sharedTokens), [cutKvState(state, 0, sharedTokens)], scratch);
    const reused = await finishPrompt(addon, greedy, target, prompt, sharedTokens);
    if (JSON.stringify(computed) !== JSON.stringify(reused)) return failed("reused KV gives other logits than computed KV");
    await spoil(addon.context, target, state, scratch);
    await feed(addon, target, 0, prompt.subarray(0, sharedTokens));
    const beside = await finishPrompt(addon, greedy, target, prompt, sharedTokens);
    if (JSON.stringify(computed) !== JSON.stringify(beside)) return failed("freed cells reach the logits of others");
    return { type: "passed", shape: { layout: state.layout, streams: state.streams } };
  } catch (error) {
    return failed(String(error instanceof Error ? error.message : error));
  } finally {
    greedy.dispose();
    for (const sequence of new Set([0, target])) addon.context.disposeSequence(sequence);
  }
}

/** Leaves all sequences empty. */
export async function selfTest(
  addon: Addon,
  vocabulary: Vocabulary,
  options: { vocabularySize: number; sequences: number; scratchDirectory: string },
): Promise<SelfTest> {
  for (const text of spellings) {
    const tokens = addon.model.tokenize(text, true);
    if (vocabulary.ends(tokens).at(-1) !== Buffer.byteLength(text)) return failed("the tokenizer does not keep every byte of a prompt");
  }
  return testReuse(addon, options.vocabularySize, options.sequences, options.scratchDirectory);
}
