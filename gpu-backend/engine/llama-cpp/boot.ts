/** Opens model and context in the child, or says in one sentence why that cannot be. */
import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { getLlama, LlamaLogLevel, NoBinaryFoundError, readGgufFileInfo, type GgufFileInfo, type Llama } from "node-llama-cpp";
import { chatMlTemplate } from "./chat-template.ts";
import type { EngineCard, KvCard } from "../engine.ts";
import { openAddon, type Addon } from "./binding.ts";
import { hashFile } from "./block-keys.ts";
import type { ChildOptions } from "./messages.ts";
import { contextFor, MIN_CONTEXT } from "./context-size.ts";
import { modelId } from "./model-id.ts";
import { tokenBytesOf, type KvLayout, type StateShape } from "./kv-state.ts";
import { kvNumbersOf } from "./number-types.ts";
import { selfTest } from "./self-test.ts";
import { readVocabulary, type Vocabulary } from "./vocabulary.ts";

type Unavailable = { type: "unavailable"; message: string };
type Boot =
  | {
      type: "booted";
      card: EngineCard;
      kvCard: KvCard;
      addon: Addon;
      vocabulary: Vocabulary;
      root: Buffer;
      state: StateShape;
      batchTokens: number;
    }
  | Unavailable;

const unavailable = (message: string): Unavailable => ({ type: "unavailable", message });
const gibibytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
const kvElementBytes = 2;

/** Bytes of KV (f16) one token takes over all layers; NaN when the metadata does not say. */
function kvBytesPerToken(info: GgufFileInfo): number {
  const { block_count: layers, embedding_length: width, attention } = info.architectureMetadata;
  const heads = Number(attention?.head_count);
  const kvHeads = attention?.head_count_kv ?? heads;
  const widthOfHead = Number(width) / heads;
  const bytesOfHead = (Number(attention?.key_length ?? widthOfHead) + Number(attention?.value_length ?? widthOfHead)) * kvElementBytes;
  const perLayer = Array.isArray(kvHeads) ? kvHeads.map(Number) : Array.from({ length: Number(layers) }, () => Number(kvHeads));
  return perLayer.reduce((sum, count) => sum + count * bytesOfHead, 0);
}

async function readInfo(options: ChildOptions): Promise<GgufFileInfo | Unavailable> {
  const name = options.modelPath;
  try {
    const file = await open(name);
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0).finally(() => file.close());
    if (buffer.toString("latin1") !== "GGUF") return unavailable(`${name} is not a GGUF file`);
  } catch (error) {
    return unavailable(`the model file ${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return await readGgufFileInfo(name, { readTensorInfo: false, logWarnings: false });
  } catch {
    return unavailable(`${name} is a damaged GGUF file`);
  }
}

/** What is asked for, or what the model was made for as far as memory reaches. */
function contextOf(info: GgufFileInfo, options: ChildOptions): number | Unavailable {
  const trainedTokens = Number(info.architectureMetadata.context_length ?? Infinity);
  const { contextTokens, sequences } = options;
  if (contextTokens !== null) {
    if (contextTokens <= trainedTokens) return contextTokens;
    return unavailable(`the model was made for ${trainedTokens} tokens of context, fewer than the ${contextTokens} asked for`);
  }
  const kvBytes = options.kvBytes ?? process.availableMemory() / 2;
  const tokens = contextFor({ trainedTokens, sequences, kvBytesPerToken: kvBytesPerToken(info), kvBytes });
  if (tokens !== null) return tokens;
  return unavailable(`${sequences} sequences of ${MIN_CONTEXT} tokens do not fit in the ${gibibytes(kvBytes)} of memory that KV may take`);
}

function checkInfo(info: GgufFileInfo, contextTokens: number, { sequences }: ChildOptions): Unavailable | undefined {
  const tokenizer: string = info.metadata.tokenizer.ggml.model;
  if (tokenizer !== "gpt2") {
    return unavailable(
      `the embedded engine reads models with a byte-level BPE tokenizer ("gpt2") only, and this one's tokenizer is "${tokenizer}"`,
    );
  }
  const needed = sequences * contextTokens * kvBytesPerToken(info);
  const free = process.availableMemory();
  if (needed > free) {
    const what = `${sequences} sequences of ${contextTokens} tokens`;
    return unavailable(`${what} need ${gibibytes(needed)} of memory for KV and ${gibibytes(free)} are free`);
  }
  return undefined;
}

async function loadLibrary(): Promise<Llama | Unavailable> {
  try {
    // "never": the default would start a C++ build when no binary fits.
    return await getLlama({ gpu: false, build: "never", skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error });
  } catch (error) {
    const reason = error instanceof NoBinaryFoundError ? "no binary fits this machine" : String(error);
    return unavailable(`the embedded engine runs on Linux with glibc, on x64 and arm64 (${process.platform} ${process.arch}: ${reason})`);
  }
}

async function releaseName(llama: Llama): Promise<string> {
  const manifest = new URL("../package.json", import.meta.resolve("node-llama-cpp"));
  const { version } = JSON.parse(await readFile(fileURLToPath(manifest), "utf8")) as { version: string };
  return `node-llama-cpp ${version} (llama.cpp ${llama.llamaCppRelease.release})`;
}

interface Described {
  info: GgufFileInfo;
  vocabulary: Vocabulary;
  release: string;
  contextTokens: number;
}

function describe({ info, vocabulary, release, contextTokens }: Described, options: ChildOptions): EngineCard {
  const { ggml, chat_template: chatTemplate } = info.metadata.tokenizer;
  return {
    model: options.modelName ?? modelId(info.metadata.general.name ?? path.basename(options.modelPath, ".gguf")),
    contextTokens,
    blockTokens: options.blockTokens,
    sequences: options.sequences,
    kvTokens: options.sequences * contextTokens,
    queueLimit: options.queueLimit,
    chatTemplate: chatTemplate ?? chatMlTemplate,
    marks: vocabulary.marks,
    longestTokenBytes: vocabulary.longestBytes,
    specialTokens: { bos_token: vocabulary.text(ggml.bos_token_id), eos_token: vocabulary.text(ggml.eos_token_id) },
    release,
  };
}

/** Everything but the weights that KV of equal tokens depends on: the release and how KV is kept. */
function keyRoot(weights: Buffer, release: string, blockTokens: number): Buffer {
  return createHash("sha256").update(weights).update(`${release} f16 no-flash-attention ${blockTokens}`).digest();
}

/** The root, and the layout as the context really writes it. */
function kvSpaceOf(root: Buffer, layout: KvLayout): string {
  const { transposed, layers, keyType, keyRowBytes, valueType, valueRowBytes, valueElementBytes } = layout;
  const shape = [Number(transposed), layers, keyType, keyRowBytes, valueType, valueRowBytes, valueElementBytes];
  return createHash("sha256")
    .update(root)
    .update(`kv ${shape.join(" ")}`)
    .digest("hex");
}

/** Number of steps in which loading is reported. */
const LOADING_STEPS = 20;

/** `loading` hears which part of the model is loaded, 0 to 1. */
function inSteps(loading: (part: number) => void): (part: number) => void {
  let told = 0;
  return (part) => {
    const step = Math.floor(part * LOADING_STEPS);
    if (step > told) loading(part);
    told = step;
  };
}

export async function boot(options: ChildOptions, loading: (part: number) => void = () => undefined): Promise<Boot> {
  const info = await readInfo(options);
  if ("type" in info) return info;
  const contextTokens = contextOf(info, options);
  if (typeof contextTokens !== "number") return contextTokens;
  const problem = checkInfo(info, contextTokens, options);
  if (problem !== undefined) return problem;
  const [llama, weights] = await Promise.all([loadLibrary(), hashFile(options.modelPath)]);
  if ("type" in llama) return llama;
  const batchTokens = Math.max(512, options.prefillChunkTokens + options.sequences);
  let addon: Addon | undefined;
  try {
    const model = await llama.loadModel({ modelPath: options.modelPath, gpuLayers: 0, onLoadProgress: inSteps(loading) });
    const context = await model.createContext({
      sequences: options.sequences,
      contextSize: contextTokens,
      batchSize: batchTokens,
      // Off, decode of small heads is three times faster and reused prefixes are equal to the bit.
      flashAttention: false,
      threads: 1,
    });
    addon = openAddon(llama, model, context);
  } catch (error) {
    return unavailable(`llama.cpp cannot load ${options.modelPath}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (addon === undefined) return unavailable("the installed node-llama-cpp is not the release the embedded engine is written for");
  // A second thread makes small models' decode steps many times slower.
  addon.context.setThreads(1);
  const { tokens, token_type: types } = info.metadata.tokenizer.ggml;
  const vocabulary = readVocabulary([...tokens], [...(types ?? [])]);
  const tested = await selfTest(addon, vocabulary, { ...options, vocabularySize: tokens.length });
  if (tested.type === "failed") return unavailable(`the embedded engine's self-test failed: ${tested.message}`);
  const { layout } = tested.shape;
  const kvNumbers = kvNumbersOf(layout);
  if (kvNumbers === undefined) return unavailable("llama.cpp keeps KV in a type that the embedded engine can't check");
  const release = await releaseName(llama);
  const root = keyRoot(weights, release, options.blockTokens);
  return {
    type: "booted",
    card: { ...describe({ info, vocabulary, release, contextTokens }, options), stepTokens: batchTokens },
    kvCard: { kvSpace: kvSpaceOf(root, layout), blockTokens: options.blockTokens, kvTokenBytes: tokenBytesOf(layout), kvNumbers },
    addon,
    vocabulary,
    root,
    state: tested.shape,
    batchTokens,
  };
}
