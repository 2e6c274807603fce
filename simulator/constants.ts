/**
 * The engine models' constants, each with where it comes from. Fixed before any policy was run on them; a policy never sees them. Published numbers:
 * H100 SXM: 80 GB, 3.35 TB/s HBM3, 989 TFLOP/s dense bf16. Llama 3.1: 8B has 32 layers, width 4,096, 8 KV heads of 128; 70B has 80 layers, width
 * 8,192, 8 KV heads of 128. Weights and KV cache in bf16.
 *
 * One step of a continuously batched engine takes, in ms,
 *   baseMs + prefillMsPerToken * prefill tokens + attentionMsPerPair * pairs + decodeMsPerSequence * decoding + decodeMsPerContextToken * their context,
 * pairs: each prefill token times the tokens before it. The sum of what a roofline takes the larger of: an upper bound, smooth, and what a step of
 * mixed work shows on a real engine, where weights, KV cache and matrix units are not used perfectly side by side.
 */

export interface EngineConstants {
  name: string;
  /** ms a step takes with nothing in it: weights are read once. */
  baseMs: number;
  /** B. */
  prefillMsPerToken: number;
  /** Q: ms per computed prompt token and token of context before it. */
  attentionMsPerPair: number;
  /** C: sampling, scheduling and launching for one more decoding sequence. */
  decodeMsPerSequence: number;
  /** D: its KV cache is read at every step. */
  decodeMsPerContextToken: number;
  /** Tokens of KV cache on the device, whole blocks. */
  kvTokens: number;
  blockTokens: number;
  /** Sequences computed at once. */
  maxSequences: number;
  /** Tokens computed in a step, decoding sequences counted with one each. */
  stepTokens: number;
  /** ms per token that comes back from host memory. */
  loadMsPerToken: number;
  /** ms per token that comes from another replica, and what each such transfer takes besides. */
  transferMsPerToken: number;
  transferFixedMs: number;
}

export type EngineName = "llama-8b-h100" | "llama-70b-tp4-h100";

/** Of the scheduler: vLLM's defaults for online serving on this class of device. */
const SCHEDULER = { blockTokens: 16, maxSequences: 256, stepTokens: 8_192 } as const;

/** Share of the published memory bandwidth that streaming reads reach. */
const BANDWIDTH_BYTES_PER_MS = (0.75 * 3.35e12) / 1_000;
/** Of 989 TFLOP/s dense, what a prefill reaches end to end. */
const FLOP_PER_MS = 500e12 / 1_000;
/** Of it, what is left when four devices share each layer (all-reduce twice a layer). */
const TP4_SHARE = 0.8;
/** Two all-reduces a layer of about 10 µs each, 80 layers. */
const TP4_LATENCY_MS = 80 * 2 * 0.01;
/** 2 (K and V) * layers * KV heads * head width * 2 bytes. */
const KV_BYTES_8B = 2 * 32 * 8 * 128 * 2;
const KV_BYTES_70B = 2 * 80 * 8 * 128 * 2;
const WEIGHT_BYTES_8B = 16e9;
const WEIGHT_BYTES_70B = 140e9;
/** The engine takes 90 % of each device; activations and graphs take about 4 GB of that. */
const USABLE_BYTES = 0.9 * 80e9 - 4e9;
/** Pinned host memory over PCIe 5, per device. */
const HOST_BYTES_PER_MS = 25e9 / 1_000;
/** A 400 Gbit/s network card per replica. */
const NETWORK_BYTES_PER_MS = 50e9 / 1_000;
/** Asking, registering and answering. */
const TRANSFER_FIXED_MS = 2;
/** About 20 µs of the scheduler's and sampler's time a sequence. */
const DECODE_MS_PER_SEQUENCE = 0.02;

function wholeBlocks(tokens: number): number {
  return Math.floor(tokens / SCHEDULER.blockTokens) * SCHEDULER.blockTokens;
}

export const ENGINES: Readonly<Record<EngineName, EngineConstants>> = {
  "llama-8b-h100": {
    name: "llama-8b-h100",
    ...SCHEDULER,
    // 16 GB / 2.51 TB/s = 6.37 ms.
    baseMs: WEIGHT_BYTES_8B / BANDWIDTH_BYTES_PER_MS,
    // 2 FLOP per weight and token: 16 GFLOP / 500 TFLOP/s = 0.032 ms.
    prefillMsPerToken: 16e9 / FLOP_PER_MS,
    // Scores and values: 4 * layers * width FLOP a pair = 0.52 MFLOP: 1.05e-6 ms.
    attentionMsPerPair: (4 * 32 * 4_096) / FLOP_PER_MS,
    decodeMsPerSequence: DECODE_MS_PER_SEQUENCE,
    // 131,072 B / 2.51 TB/s = 5.2e-5 ms.
    decodeMsPerContextToken: KV_BYTES_8B / BANDWIDTH_BYTES_PER_MS,
    // (68 - 16) GB / 131,072 B = 396,720 tokens.
    kvTokens: wholeBlocks((USABLE_BYTES - WEIGHT_BYTES_8B) / KV_BYTES_8B),
    // 131,072 B / 25 GB/s = 0.0052 ms.
    loadMsPerToken: KV_BYTES_8B / HOST_BYTES_PER_MS,
    transferMsPerToken: KV_BYTES_8B / NETWORK_BYTES_PER_MS,
    transferFixedMs: TRANSFER_FIXED_MS,
  },
  "llama-70b-tp4-h100": {
    name: "llama-70b-tp4-h100",
    ...SCHEDULER,
    // 140 GB over four devices, and the all-reduces' latency: 15.5 ms.
    baseMs: WEIGHT_BYTES_70B / (4 * BANDWIDTH_BYTES_PER_MS) + TP4_LATENCY_MS,
    // 140 GFLOP / (4 * 500 * 0.8 TFLOP/s) = 0.0875 ms.
    prefillMsPerToken: 140e9 / (4 * TP4_SHARE * FLOP_PER_MS),
    // 2.62 MFLOP a pair: 1.64e-6 ms.
    attentionMsPerPair: (4 * 80 * 8_192) / (4 * TP4_SHARE * FLOP_PER_MS),
    decodeMsPerSequence: DECODE_MS_PER_SEQUENCE,
    decodeMsPerContextToken: KV_BYTES_70B / (4 * BANDWIDTH_BYTES_PER_MS),
    // (4 * 68 - 140) GB / 327,680 B = 402,832 tokens.
    kvTokens: wholeBlocks((4 * USABLE_BYTES - WEIGHT_BYTES_70B) / KV_BYTES_70B),
    // Each device loads its quarter.
    loadMsPerToken: KV_BYTES_70B / (4 * HOST_BYTES_PER_MS),
    transferMsPerToken: KV_BYTES_70B / NETWORK_BYTES_PER_MS,
    transferFixedMs: TRANSFER_FIXED_MS,
  },
};

/** The same engine on a machine whose every step takes `factor` times as long; memory, links and scheduler stay. */
export function scaled(engine: EngineConstants, factor: number): EngineConstants {
  return {
    ...engine,
    baseMs: engine.baseMs * factor,
    prefillMsPerToken: engine.prefillMsPerToken * factor,
    attentionMsPerPair: engine.attentionMsPerPair * factor,
    decodeMsPerSequence: engine.decodeMsPerSequence * factor,
    decodeMsPerContextToken: engine.decodeMsPerContextToken * factor,
  };
}
