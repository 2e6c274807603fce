/**
 * What looking at logits costs: of a decode step, reading the chosen token's logit in the call that samples it; of a piece of a prompt that is not its last, asking for the
 * logits of its last token and sampling once. The same batches of the same context, with and without, in turn; each row is of one model.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../../cli/bundle.ts";
import type { Addon, LogitIndex } from "../../../gpu-backend/engine/llama-cpp/binding.ts";
import { boot } from "../../../gpu-backend/engine/llama-cpp/boot.ts";
import { LogitProbe } from "../../../gpu-backend/engine/llama-cpp/sampling.ts";
import { type DemoShape, demoShape, ensureDemoModel } from "../../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { median, round } from "./figures.ts";
import { SHAPE } from "./rig.ts";

const WARM_UP = 2;
const PIECE_TOKENS = 512;
/** After one piece. */
const DECODE_STEPS = 128;

export const logitParameters = { time: "CPU ms of the process, one thread computes", pieceTokens: PIECE_TOKENS, decodeSteps: DECODE_STEPS };

interface Pair {
  without: number;
  with: number;
}

/** Of this process: other load on the machine counts little. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

interface Spread {
  median: number;
  least: number;
  most: number;
}

export interface LogitRow {
  part: "logits";
  model: string;
  of: "decode step" | "prefill piece";
  passes: number;
  /** CPU ms, over the passes; a pass of decoding is the median of its steps. */
  without: Spread;
  with: Spread;
  /** With less without, within each pass. */
  difference: Spread;
  /** The median difference, of what it takes without. */
  share: number;
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: round(median(sorted), 4), least: round(sorted[0] ?? 0, 4), most: round(sorted.at(-1) ?? 0, 4) };
}

class Rig {
  readonly #addon: Addon;
  readonly #probe: LogitProbe;
  readonly #tokens: Uint32Array;

  constructor(addon: Addon) {
    this.#addon = addon;
    this.#probe = new LogitProbe(addon);
    // Any tokens do that every vocabulary has, away from the special ones.
    this.#tokens = Uint32Array.from({ length: PIECE_TOKENS }, (_, n) => 300 + ((n * 37) % 200));
  }

  async #batch(position: number, tokens: Uint32Array, logits: boolean): Promise<LogitIndex | undefined> {
    const { context } = this.#addon;
    context.initBatch(tokens.length);
    const at = context.addToBatch(0, position, tokens, logits ? Uint32Array.of(tokens.length - 1) : new Uint32Array());
    await context.decodeBatch();
    return at[0];
  }

  /** CPU ms of one piece, without and with. */
  async piece(): Promise<Pair> {
    return { without: await this.#piece(false), with: await this.#piece(true) };
  }

  async #piece(checked: boolean): Promise<number> {
    this.#addon.context.disposeSequence(0);
    const startedMs = cpuMs();
    const logit = await this.#batch(0, this.#tokens, checked);
    if (logit !== undefined && !(await this.#probe.isFinite(logit))) throw new Error("The model overflows.");
    return cpuMs() - startedMs;
  }

  /** Median CPU ms of a step, without and with by turns; both sample greedily. */
  async decode(): Promise<Pair> {
    await this.#piece(false);
    const { context } = this.#addon;
    const sampler = this.#addon.makeSampler();
    sampler.applyConfig({ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 });
    const took = { without: [] as number[], with: [] as number[] };
    for (let step = 0; step < DECODE_STEPS; step++) {
      const checked = step % 2 === 1;
      const startedMs = cpuMs();
      const logit = await this.#batch(PIECE_TOKENS + step, Uint32Array.of(301 + step), true);
      if (logit === undefined) throw new Error("There are no logits.");
      if (!checked) await context.sampleToken(logit, sampler);
      else if (!(await this.#probe.isFinite(logit))) throw new Error("The model overflows.");
      took[checked ? "with" : "without"].push(cpuMs() - startedMs);
    }
    sampler.dispose();
    return { without: median(took.without), with: median(took.with) };
  }
}

async function compare(
  passes: number,
  measure: () => Promise<Pair>,
): Promise<Pick<LogitRow, "passes" | "without" | "with" | "difference" | "share">> {
  const pairs: Pair[] = [];
  for (let pass = -WARM_UP; pass < passes; pass++) {
    const pair = await measure();
    if (pass >= 0) pairs.push(pair);
  }
  const without = spreadOf(pairs.map((pair) => pair.without));
  const difference = spreadOf(pairs.map((pair) => pair.with - pair.without));
  return {
    passes,
    without,
    with: spreadOf(pairs.map((pair) => pair.with)),
    difference,
    share: round(difference.median / without.median, 4),
  };
}

export async function measureLogits(): Promise<LogitRow[]> {
  const models: [string, DemoShape, number][] = [
    ["demo", demoShape, 30],
    ["12 layers of 768", SHAPE, 10],
  ];
  const rows: LogitRow[] = [];
  for (const [model, shape, passes] of models) {
    const scratchDirectory = await mkdtemp(join(tmpdir(), "warmpath-logits-"));
    const booted = await boot({
      modelPath: await ensureDemoModel(join(ROOT, "node_modules/.cache/warmpath-bench"), { shape }),
      sequences: 1,
      contextTokens: 1_024,
      blockTokens: 32,
      queueLimit: 1,
      prefillChunkTokens: PIECE_TOKENS,
      scratchDirectory,
    });
    if (booted.type === "unavailable") throw new Error(booted.message);
    const rig = new Rig(booted.addon);
    rows.push({ part: "logits", model, of: "decode step", ...(await compare(passes, () => rig.decode())) });
    rows.push({ part: "logits", model, of: "prefill piece", ...(await compare(passes, () => rig.piece())) });
    await rm(scratchDirectory, { recursive: true, force: true });
  }
  return rows;
}
