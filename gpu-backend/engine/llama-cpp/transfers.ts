/** KV on its way into a run's sequence and out of it, with what to do when it does not come. */
import type { EngineKey, FirstToken, KeyedBlock, Prefilled } from "../engine.ts";
import type { KvCells } from "./kv-cells.ts";
import { planRestore } from "./restore.ts";
import type { Run } from "./run.ts";
import type { Placement, SequenceTable } from "./sequences.ts";

export class Transfers {
  readonly #table: SequenceTable;
  readonly #cells: KvCells;
  readonly #nowMs: () => number;
  #failures = 0;

  constructor(table: SequenceTable, cells: KvCells, nowMs: () => number) {
    this.#table = table;
    this.#cells = cells;
    this.#nowMs = nowMs;
  }

  /** Restores that came and were not used, because they did not fit or llama.cpp refused them. */
  get failures(): number {
    return this.#failures;
  }

  countFailure(): void {
    this.#failures++;
  }

  /** Gives the run what is held and what came with it; the first token when that is the whole prompt. */
  async place(run: Run, placement: Placement): Promise<FirstToken | undefined> {
    const { restore } = run;
    run.restore = undefined;
    const reusable = this.#table.reusableBlocks(run.tokens.length);
    const plan = restore === undefined ? undefined : planRestore(restore, placement.blocks, run.keys.length, reusable);
    const fromMs = this.#nowMs();
    const restored = plan !== undefined && (await this.#cells.restore(placement, run, plan));
    if (plan !== undefined) run.restoreMs = this.#nowMs() - fromMs;
    if (restored) {
      if (plan.first === undefined) return undefined;
      if (run.sampler.accept(plan.first.token)) return plan.first;
      // The KV is right, the token is not one that this request could have had.
      this.#failures++;
      this.#cells.trim(run.sequence, reusable * this.#table.blockTokens);
      return undefined;
    }
    if (plan !== undefined) this.#failures++;
    const { source, target } = placement;
    const held = source === target ? target.blocks.length : placement.blocks;
    await this.#cells.place({ source, target, blocks: Math.min(placement.blocks, held, reusable) }, run);
    return undefined;
  }

  /** Those of the blocks that are held, in the order asked. */
  async read(keys: readonly EngineKey[]): Promise<KeyedBlock[]> {
    const read = new Map<EngineKey, KeyedBlock>();
    for (const [sequence, blocks] of this.#table.locate(keys)) {
      try {
        const payloads = await this.#cells.read(
          sequence,
          blocks.map((at) => this.#range(at)),
        );
        for (const [index, payload] of payloads.entries()) {
          const key = sequence.blocks[blocks[index] ?? -1];
          if (key !== undefined) read.set(key, { key, ...payload });
        }
      } catch (error) {
        process.emitWarning(`export failed: ${String(error)}`);
      }
    }
    return [...new Set(keys)].flatMap((key) => read.get(key) ?? []);
  }

  /** The run's prompt is computed and its first token chosen. Throws when the sequence cannot be saved. */
  async handOver(run: Run, first: FirstToken, wanted: ReadonlySet<EngineKey>): Promise<Prefilled> {
    const { sequence, keys, tokens, cachedTokens, restoreMs, prefillMs } = run;
    const asked = keys.flatMap((key, at) => (wanted.has(key) && sequence.blocks[at] === key ? [{ key, at }] : []));
    const rest = [keys.length * this.#table.blockTokens, tokens.length] as const;
    const payloads = await this.#cells.read(sequence, [...asked.map(({ at }) => this.#range(at)), rest]);
    const tail = payloads.pop() ?? { tokens: new Uint32Array(), data: new Uint8Array() };
    const blocks = payloads.flatMap((payload, index) => {
      const key = asked[index]?.key;
      return key === undefined ? [] : [{ key, ...payload }];
    });
    return { type: "prefilled", promptTokens: tokens.length, cachedTokens, restoreMs, prefillMs, first, blocks, tail };
  }

  #range(block: number): readonly [number, number] {
    return [block * this.#table.blockTokens, (block + 1) * this.#table.blockTokens];
  }
}
