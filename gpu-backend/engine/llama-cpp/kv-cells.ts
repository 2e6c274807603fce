/** Moves KV between sequences and out of them, keeping the context and the table of sequences in step. Never during `decodeBatch`. */
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { EngineKey } from "../engine.ts";
import type { AddonContext } from "./binding.ts";
import { cutKvState, joinKvBlocks, parseKvState } from "./kv-state.ts";
import type { KvState } from "./kv-state.ts";
import type { Placement, Sequence, SequenceTable } from "./sequences.ts";

export interface KvCells {
  /** Keeps the first `tokens` tokens of a sequence; returns how many it kept, 0 when the context could not cut there. */
  trim(sequence: Sequence, tokens: number): number;
  /** Empties a sequence whose cells are in doubt. */
  clear(sequence: Sequence): void;
  /** Gives the target the placement's blocks; returns the tokens it then holds, 0 when a copy failed (the prefix is recomputed). */
  place(placement: Placement, keys: readonly EngineKey[]): Promise<number>;
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

/** Replaces what the sequence holds by the first `tokens` tokens of the state. Throws when llama.cpp refuses; the sequence is then empty. */
export async function importPrefix(
  context: AddonContext,
  sequence: number,
  state: KvState,
  tokens: number,
  scratch: string,
): Promise<void> {
  const file = path.join(scratch, `load-${sequence}`);
  try {
    await writeFile(file, joinKvBlocks(state.layout, state.tokens.subarray(0, tokens), [cutKvState(state, 0, tokens)], state.streams));
    const loaded = await context.loadSequenceStateFromFile(file, sequence, tokens);
    if (loaded.length !== tokens) throw new Error("loaded sequence state has another length");
  } catch (error) {
    // A failed load leaves cells behind that only this removes.
    context.disposeSequence(sequence);
    throw error;
  } finally {
    await rm(file, { force: true });
  }
}

export function createKvCells(context: AddonContext, table: SequenceTable, scratch: string): KvCells {
  function trim(sequence: Sequence, tokens: number): number {
    if (sequence.tokens.length === tokens) return tokens;
    const cut = tokens > 0 && context.removeTokenCellsFromSequence(sequence.id, tokens, -1);
    if (!cut) context.disposeSequence(sequence.id);
    const kept = cut ? tokens : 0;
    table.truncate(sequence, kept);
    return kept;
  }

  async function copy({ source, target, blocks }: Placement, keys: readonly EngineKey[]): Promise<number> {
    const tokens = blocks * table.blockTokens;
    trim(target, 0);
    try {
      const state = await exportState(context, source.id, source.tokens, scratch);
      await importPrefix(context, target.id, state, tokens, scratch);
    } catch (error) {
      process.emitWarning(`prefix copy failed, recomputing: ${String(error)}`);
      return 0;
    }
    target.tokens = source.tokens.slice(0, tokens);
    for (const key of keys.slice(0, blocks)) table.hold(target, key);
    return tokens;
  }

  return {
    trim,
    clear(sequence) {
      context.disposeSequence(sequence.id);
      table.truncate(sequence, 0);
    },
    place(placement, keys) {
      if (placement.source !== placement.target && placement.blocks > 0) return copy(placement, keys);
      return Promise.resolve(trim(placement.target, placement.blocks * table.blockTokens));
    },
  };
}
