/** Moves KV between sequences, out of them and into them, keeping context and table of sequences in step. Never during `decodeBatch`. */
import { open, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BlockPayload, EngineKey } from "../engine.ts";
import type { AddonContext } from "./binding.ts";
import { joinKvBlocks, zeroKvState } from "./kv-image.ts";
import { cutKvBytes, cutKvState, parseKvState, type KvBlock, type KvState, type StateShape } from "./kv-state.ts";
import type { RestorePlan } from "./restore.ts";
import type { Placement, Sequence, SequenceTable } from "./sequences.ts";

interface Prompt {
  tokens: Uint32Array;
  keys: readonly EngineKey[];
}

/** Saves the sequence's state and parses it. Throws when llama.cpp cannot write it or writes something else than we know. */
export async function exportState(context: AddonContext, sequence: number, tokens: readonly number[], scratch: string): Promise<KvState> {
  const file = path.join(scratch, `save-${sequence}`);
  try {
    await context.saveSequenceStateToFile(file, sequence, Uint32Array.from(tokens));
    const parse = parseKvState(await readFile(file));
    if (parse.type === "invalid") throw new Error(`saved sequence state: ${parse.message}`);
    if (parse.state.cells !== tokens.length) throw new Error("saved sequence state has another length");
    return parse.state;
  } finally {
    await rm(file, { force: true });
  }
}

/** Replaces what the sequence holds by these blocks. Throws when llama.cpp refuses; the sequence is then empty. */
export async function importBlocks(
  context: AddonContext,
  sequence: number,
  { layout, streams }: StateShape,
  tokens: Uint32Array,
  blocks: readonly KvBlock[],
  scratch: string,
): Promise<void> {
  const file = path.join(scratch, `load-${sequence}`);
  try {
    await writeFile(file, joinKvBlocks(layout, tokens, blocks, streams));
    const loaded = await context.loadSequenceStateFromFile(file, sequence, tokens.length);
    if (loaded.length !== tokens.length) throw new Error("loaded sequence state has another length");
  } catch (error) {
    // A failed load leaves cells behind that only this removes.
    context.disposeSequence(sequence);
    throw error;
  } finally {
    await rm(file, { force: true });
  }
}

/** Freed cells could not be zeroed: the process must end, since what runs next may read them. */
export class UncleanCells extends Error {}

/**
 * Writes zeros over every cell of a sequence, those that nobody uses too, and empties it. A freed cell keeps its bytes, and without flash attention a masked cell still
 * enters the product of keys and queries, where NaN × 0 is NaN. Throws UncleanCells.
 */
export async function zeroSequence(
  context: AddonContext,
  sequence: number,
  { layout, streams }: StateShape,
  scratch: string,
): Promise<void> {
  const cells = Math.floor(context.getContextSize() / streams);
  const file = path.join(scratch, `zero-${sequence}`);
  try {
    const { parts, length } = zeroKvState(layout, cells, streams);
    const handle = await open(file, "w");
    try {
      for (const { at, bytes } of parts) await handle.write(bytes, 0, bytes.length, at);
      await handle.truncate(length);
    } finally {
      await handle.close();
    }
    context.disposeSequence(sequence);
    const loaded = await context.loadSequenceStateFromFile(file, sequence, cells);
    if (loaded.length !== cells) throw new Error("loaded sequence state has another length");
  } catch (error) {
    throw new UncleanCells(`the cells of a sequence could not be zeroed: ${String(error)}`);
  } finally {
    context.disposeSequence(sequence);
    await rm(file, { force: true });
  }
}

export class KvCells {
  readonly #context: AddonContext;
  readonly #table: SequenceTable;
  readonly #shape: StateShape;
  readonly #scratch: string;

  constructor(context: AddonContext, table: SequenceTable, shape: StateShape, scratch: string) {
    this.#context = context;
    this.#table = table;
    this.#shape = shape;
    this.#scratch = scratch;
  }

  /** Keeps the first `tokens` tokens of a sequence, or none when the context could not cut there. */
  trim(sequence: Sequence, tokens: number): void {
    if (sequence.tokens.length === tokens) return;
    const cut = tokens > 0 && this.#context.removeTokenCellsFromSequence(sequence.id, tokens, -1);
    if (cut) this.#table.truncate(sequence, tokens);
    else this.clear(sequence);
  }

  /** Empties a sequence, also one whose cells are in doubt. */
  clear(sequence: Sequence): void {
    this.#context.disposeSequence(sequence.id);
    this.#table.truncate(sequence, 0);
  }

  /** Empties a sequence and leaves zeros where its KV was. Throws UncleanCells. */
  async zero(sequence: Sequence): Promise<void> {
    this.clear(sequence);
    await zeroSequence(this.#context, sequence.id, this.#shape, this.#scratch);
  }

  /** Gives the target the placement's blocks, or nothing when a copy failed (the prefix is recomputed). */
  async place(placement: Placement, prompt: Prompt): Promise<void> {
    const { source, target, blocks } = placement;
    if (source === target || blocks === 0) return this.trim(target, blocks * this.#table.blockTokens);
    try {
      await this.#load(placement, prompt, []);
    } catch (error) {
      process.emitWarning(`prefix copy failed, recomputing: ${String(error)}`);
    }
  }

  /** Gives the target the placement's blocks and the plan's behind them. False when that failed: what the target then holds is in the table. */
  async restore(placement: Placement, prompt: Prompt, plan: RestorePlan): Promise<boolean> {
    try {
      await this.#load(placement, prompt, plan.blocks);
      return true;
    } catch (error) {
      process.emitWarning(`restore failed, recomputing: ${String(error)}`);
      return false;
    }
  }

  /** Reads ranges of positions (end exclusive, may be empty). The sequence is saved once. Throws when that fails. */
  async read(sequence: Sequence, ranges: readonly (readonly [from: number, to: number])[]): Promise<BlockPayload[]> {
    const filled = ranges.some(([from, to]) => to > from);
    const state = filled ? await exportState(this.#context, sequence.id, sequence.tokens, this.#scratch) : undefined;
    return ranges.map(([from, to]) => {
      const bytes = state === undefined || from === to ? Buffer.alloc(0) : cutKvBytes(state, from, to);
      const data = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      return { tokens: Uint32Array.from(sequence.tokens.slice(from, to)), data };
    });
  }

  /** One image of the source's blocks and `more`, loaded into the target. Throws. */
  async #load({ source, target, blocks }: Placement, prompt: Prompt, more: readonly KvBlock[]): Promise<void> {
    const { blockTokens } = this.#table;
    const held = blocks * blockTokens;
    this.trim(target, source === target ? held : 0);
    if (source.tokens.length < held) throw new Error("the context could not cut the prefix");
    const prefix = held > 0 ? [cutKvState(await exportState(this.#context, source.id, source.tokens, this.#scratch), 0, held)] : [];
    const parts = [...prefix, ...more];
    const cells = parts.reduce((sum, part) => sum + part.cells, 0);
    const tokens = prompt.tokens.subarray(0, cells);
    try {
      await importBlocks(this.#context, target.id, this.#shape, tokens, parts, this.#scratch);
    } catch (error) {
      this.clear(target);
      throw error;
    }
    target.tokens = [...tokens];
    for (const key of prompt.keys.slice(target.blocks.length, Math.floor(cells / blockTokens))) this.#table.hold(target, key);
  }
}
