/**
 * warmpath-demo: a real llama-architecture model with random weights, made on the spot (1.5 MB). It talks gibberish, and computes,
 * caches and transfers KV exactly as a trained model does, so everything around the engine can be run and tested without a download.
 */
import { isUtf8 } from "node:buffer";
import { createHash, randomUUID } from "node:crypto";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { byteOfCharacter } from "../../byte-characters.ts";
import { trainBpe, type BpeVocabulary } from "./bpe.ts";
import { chatMlTemplate } from "../chat-template.ts";
import { demoCorpus } from "./corpus.ts";
import { encodeGguf, type GgufTensor, type GgufValue } from "./gguf.ts";
import { SeededRandom } from "./random.ts";

const demoModelName = "warmpath-demo";

/** The model's dimensions; widths are multiples of 32. */
export const demoShape = { layers: 4, width: 128, heads: 4, kvHeads: 2, feedForward: 384, vocabulary: 2048, contextTokens: 32_768 };
export type DemoShape = typeof demoShape;

const specialTokens = [
  { text: "<|endoftext|>", type: "control" },
  { text: "<|im_start|>", type: "control" },
  { text: "<|im_end|>", type: "control" },
  { text: "<tool_call>", type: "userDefined" },
  { text: "</tool_call>", type: "userDefined" },
] as const;
const tokenTypes = { normal: 1, control: 3, userDefined: 4 };

/** Raise when the code that turns the recipe into bytes changes what it makes. */
const recipeVersion = 2;

function metadataOf(vocabulary: BpeVocabulary, shape: DemoShape): Record<string, GgufValue> {
  const tokens = [...vocabulary.tokens, ...specialTokens.map((token) => token.text)];
  const types = [...vocabulary.tokens.map(() => tokenTypes.normal), ...specialTokens.map((token) => tokenTypes[token.type])];
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const string = (value: string): GgufValue => ({ type: "string", value });
  const idOf = (text: string) => u32(tokens.indexOf(text));
  return {
    "general.architecture": string("llama"),
    "general.type": string("model"),
    "general.name": string(demoModelName),
    "general.file_type": u32(7),
    "general.quantization_version": u32(2),
    "llama.vocab_size": u32(tokens.length),
    "llama.context_length": u32(shape.contextTokens),
    "llama.embedding_length": u32(shape.width),
    "llama.block_count": u32(shape.layers),
    "llama.feed_forward_length": u32(shape.feedForward),
    "llama.attention.head_count": u32(shape.heads),
    "llama.attention.head_count_kv": u32(shape.kvHeads),
    "llama.attention.layer_norm_rms_epsilon": { type: "f32", value: 1e-5 },
    "llama.rope.freq_base": { type: "f32", value: 10_000 },
    "llama.rope.dimension_count": u32(shape.width / shape.heads),
    "tokenizer.ggml.model": string("gpt2"),
    // Without "qwen2" llama.cpp cleans spaces when it turns tokens back into text.
    "tokenizer.ggml.pre": string("qwen2"),
    "tokenizer.ggml.tokens": { type: "strings", value: tokens },
    "tokenizer.ggml.token_type": { type: "i32s", value: types },
    "tokenizer.ggml.merges": { type: "strings", value: vocabulary.merges },
    "tokenizer.ggml.bos_token_id": idOf("<|endoftext|>"),
    "tokenizer.ggml.eos_token_id": idOf("<|im_end|>"),
    "tokenizer.ggml.eot_token_id": idOf("<|im_end|>"),
    "tokenizer.ggml.padding_token_id": idOf("<|endoftext|>"),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
    "tokenizer.ggml.add_eos_token": { type: "bool", value: false },
    "tokenizer.chat_template": string(chatMlTemplate),
  };
}

/** Zeroes the output rows of tokens that are no whole characters or no text, so that the gibberish is seldom broken UTF-8. */
function mute(rows: Float32Array, tokens: readonly string[], width: number): Float32Array {
  const muteRow = (id: number) => rows.fill(0, id * width, (id + 1) * width);
  for (const [id, token] of tokens.entries()) {
    if (!isUtf8(Uint8Array.from(Array.from(token, (character) => byteOfCharacter.get(character) ?? 0)))) muteRow(id);
  }
  // <|im_end|> keeps its row: answers end by themselves now and then.
  for (const [index, { text }] of specialTokens.entries()) if (text !== "<|im_end|>") muteRow(tokens.length + index);
  return rows;
}

/** Weights of variance about 1 / inputs; embedding and output differ, because a tied output tends to echo its input. */
function tensorsOf(vocabulary: BpeVocabulary, shape: DemoShape): GgufTensor[] {
  const vocabularySize = vocabulary.tokens.length + specialTokens.length;
  const random = new SeededRandom(1);
  const { width, feedForward } = shape;
  const kvWidth = (width / shape.heads) * shape.kvHeads;
  const matrix = (name: string, inputs: number, outputs: number, gain: number): GgufTensor => ({
    name: `${name}.weight`,
    shape: [inputs, outputs],
    type: "q8_0",
    values: () => random.normals(inputs * outputs, gain / Math.sqrt(inputs)),
  });
  const norm = (name: string): GgufTensor => ({
    name: `${name}.weight`,
    shape: [width],
    type: "f32",
    values: () => new Float32Array(width).fill(1),
  });
  const layers = Array.from({ length: shape.layers }, (_, layer) => [
    norm(`blk.${layer}.attn_norm`),
    matrix(`blk.${layer}.attn_q`, width, width, 1.6),
    matrix(`blk.${layer}.attn_k`, width, kvWidth, 1.6),
    matrix(`blk.${layer}.attn_v`, width, kvWidth, 1),
    matrix(`blk.${layer}.attn_output`, width, width, 1),
    norm(`blk.${layer}.ffn_norm`),
    matrix(`blk.${layer}.ffn_gate`, width, feedForward, 1),
    matrix(`blk.${layer}.ffn_up`, width, feedForward, 1),
    matrix(`blk.${layer}.ffn_down`, feedForward, width, 1),
  ]);
  const output = matrix("output", width, vocabularySize, 1.5);
  return [
    matrix("token_embd", width, vocabularySize, Math.sqrt(width)),
    norm("output_norm"),
    { ...output, values: () => mute(output.values(), vocabulary.tokens, width) },
    ...layers.flat(),
  ];
}

/** The GGUF file's bytes; takes a few tenths of a second. */
export function encodeDemoModel(corpus = demoCorpus(), shape = demoShape): Buffer {
  const vocabulary = trainBpe(corpus, shape.vocabulary - specialTokens.length);
  return encodeGguf(metadataOf(vocabulary, shape), tensorsOf(vocabulary, shape));
}

interface DemoModelOptions {
  shape?: DemoShape;
  /** Called when it is not there and is made. */
  making?: () => void;
}

/** Path of the model in `directory`, which is made when missing. The name carries a hash of the recipe, so a changed recipe builds anew. */
export async function ensureDemoModel(directory: string, { shape = demoShape, making }: DemoModelOptions = {}): Promise<string> {
  const corpus = demoCorpus();
  const recipe = JSON.stringify([recipeVersion, shape, specialTokens, chatMlTemplate, corpus]);
  const hash = createHash("sha256").update(recipe).digest("hex").slice(0, 12);
  const file = path.join(directory, `${demoModelName}-${hash}.gguf`);
  const present = await stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
  if (present) return file;
  making?.();
  await mkdir(directory, { recursive: true });
  // Two processes may build at once: each writes its own file, and the last rename wins with the same bytes.
  const temporary = `${file}.${randomUUID()}`;
  try {
    await writeFile(temporary, encodeDemoModel(corpus, shape));
    await rename(temporary, file);
  } catch (error) {
    // Half a file would keep a full disk full.
    await rm(temporary, { force: true });
    throw error;
  }
  return file;
}
