/** The KV part of a vLLM engine: what its events say that it holds, by the keys that prompts have (block-names.ts), and how sure that is. */
import { TIER } from "../../../src/residency/tiers.ts";
import type { BlockChange, EngineKey, EngineKv } from "../engine.ts";
import type { ResidencyState } from "../residency-state.ts";
import { BlockNames } from "./block-names.ts";
import type { FeedState, FeedStep, Gap } from "./event-feed.ts";
import { HeldBlocks, type TierChange } from "./held-blocks.ts";
import type { BlockHash, KvEvent } from "./kv-events.ts";

const TIERS = Object.values(TIER);

const GAPS: Readonly<Record<Gap, string>> = {
  history: "some of its KV events are lost, and the engine has them no more",
  malformed: "some of its KV events could not be read",
  unknown: "some of its KV events are of a type that this version does not know",
};

/** What the reader of the events knows besides. */
export interface EventsSeen {
  state: FeedState;
  gap: Gap | null;
  /** The live socket is connected, and the other answers. */
  isConnected: boolean;
}

export class VllmResidency implements EngineKv {
  /** Blocks move between vLLM engines by its own connectors. */
  readonly exchange = null;
  readonly names: BlockNames;
  readonly #blockTokens: number;
  readonly #held: HeldBlocks;
  /** Tier bits as last reported to the listener. */
  readonly #tierBits = new Map<EngineKey, number>();
  /** Held, and no prompt's here: what they follow on was never announced. */
  readonly #unnamed = new Set<BlockHash>();
  #hasOtherBlocks = false;
  #listener: (changes: BlockChange[]) => void = () => undefined;

  constructor(blockTokens: number, adapter: string | null, most?: number) {
    this.#blockTokens = blockTokens;
    this.names = new BlockNames(blockTokens, adapter);
    this.#held = new HeldBlocks(most);
  }

  /** Events come once their socket is open. What came before the first listener is reported to it at once. */
  onResidency(listener: (changes: BlockChange[]) => void): void {
    this.#listener = listener;
    this.#emitChanges(changesOf(this.#tierBits, true));
  }

  apply(steps: readonly FeedStep[]): void {
    for (const step of steps) {
      if (step.type === "forget") this.#forget();
      if (step.type === "apply") this.#emitChanges(step.batch.events.flatMap((event) => this.#changesOf(event)));
    }
  }

  state({ state, gap, isConnected }: EventsSeen): ResidencyState {
    const degraded = (why: string): ResidencyState => ({ state: "degraded", why });
    if (!isConnected) return degraded("its KV events do not come");
    if (state === "catching-up") return degraded("its KV events are being caught up with");
    if (gap !== null) return degraded(GAPS[gap]);
    if (this.#held.leftOut > 0) return degraded("it holds more blocks than are followed");
    if (this.#hasOtherBlocks) return degraded("its blocks have another size than was found: set WARMPATH_BLOCK_TOKENS");
    if (this.#unnamed.size > 0) return degraded("its KV events do not say what some of its blocks hold");
    return { state: "exact" };
  }

  /** Leading tokens of a prompt that it holds on any tier; never the whole prompt, of which the last token is always computed. */
  heldTokens(keys: readonly EngineKey[], promptTokens: number): number {
    const missing = keys.findIndex((key) => !this.#tierBits.has(key));
    const held = missing === -1 ? keys.length : missing;
    return Math.max(0, Math.min(held, Math.floor((promptTokens - 1) / this.#blockTokens))) * this.#blockTokens;
  }

  #changesOf(event: KvEvent): BlockChange[] {
    if (event.type === "stored") {
      if (event.isPrefix) this.names.learn(event);
      if (event.isPrefix && event.blockTokens !== null && event.blockTokens !== this.#blockTokens) this.#hasOtherBlocks = true;
    }
    const changes = this.#held.apply(event);
    const named = changes.flatMap((change) => this.#named(change));
    if (event.type === "cleared") {
      this.names.clear();
      this.#hasOtherBlocks = false;
    }
    // One that found no room is not followed.
    if (event.type === "stored") for (const hash of event.keys) if (this.#held.bitsOf(hash) === 0) this.names.forget(hash);
    return named;
  }

  /** A change of one tier each. */
  #named({ key: hash, tierBits }: TierChange): BlockChange[] {
    const key = this.names.of(hash);
    if (tierBits === 0) {
      this.names.forget(hash);
      this.#unnamed.delete(hash);
    }
    if (key === undefined) {
      if (tierBits !== 0) this.#unnamed.add(hash);
      return [];
    }
    this.#unnamed.delete(hash);
    const before = this.#tierBits.get(key) ?? 0;
    if (tierBits === 0) this.#tierBits.delete(key);
    else this.#tierBits.set(key, tierBits);
    return TIERS.filter((tier) => ((before ^ tierBits) & tier) !== 0).map((tier) => ({ key, held: (tierBits & tier) !== 0, tier }));
  }

  #forget(): void {
    this.#held.clear();
    this.names.clear();
    this.#unnamed.clear();
    this.#hasOtherBlocks = false;
    const gone = [...this.#tierBits];
    this.#tierBits.clear();
    this.#emitChanges(changesOf(gone, false));
  }

  #emitChanges(changes: BlockChange[]): void {
    if (changes.length > 0) this.#listener(changes);
  }
}

/** One for each tier. */
function changesOf(tierBits: Iterable<[EngineKey, number]>, held: boolean): BlockChange[] {
  return Array.from(tierBits).flatMap(([key, bits]) => TIERS.filter((tier) => (bits & tier) !== 0).map((tier) => ({ key, held, tier })));
}
