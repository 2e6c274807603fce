/**
 * Where a request's KV comes from besides its own engine: lower tiers of this replica, a peer that holds it, or a replica that computes
 * it. Whatever fails, the engine computes the rest itself, and the report says so.
 */
import type { ApiName } from "../src/wire/api-table.ts";
import { performance } from "node:perf_hooks";
import type { Agent } from "undici";
import type { TransferReport } from "../src/pool/frames.ts";
import type { Source } from "../src/wire/ticket.ts";
import type { OfferedBlock, TierStack, WantedBlock } from "./blocks/tier-stack.ts";
import { PINNED_SHARE } from "./blocks/tier.ts";
import type { EngineKey, KeyedBlock, KvExchange, Prefilled, PreparedKv, Restore } from "./engine/engine.ts";
import { PinBudget } from "./pin-budget.ts";
import { PrefillPace, type PrefillTimes } from "./prefill-pace.ts";
import { steadyNowMs } from "./steady-clock.ts";
import { TransferCounts } from "./transfer-counts.ts";
import { type Fetched, fetchPrefill, pullBlocks, transferAgent } from "./transfer/fetch.ts";
import type { BlockSource } from "./transfer/block-source.ts";

/** Share of the nearest tier that one salt's pins may take. */
const PINNED_BY_ONE = 0.25;
/** Longest wait for this replica's own tiers: what computing the same takes, and at least this. */
const MIN_LOAD_MS = 500;

/** What the edge said about where KV is to be had, and the request as it came. */
export interface SupplyOrder {
  prefill: Source | null;
  pull: Source | null;
  /** Whether to load what lies on lower tiers, by the pool's word; null or absent: as this replica's own measurements say. */
  load?: boolean | null;
  api: ApiName;
  historyBytes: number;
  body: Uint8Array;
}

export interface Supplied {
  restore: Restore | undefined;
  loadedTokens: number;
  loadMs: number;
  transfer: TransferReport | undefined;
  /** Set when another replica computed the prompt: the tokens that neither computed, which the client sees as cached. */
  cachedElsewhere: number | undefined;
}

const NOTHING: Supplied = { restore: undefined, loadedTokens: 0, loadMs: 0, transfer: undefined, cachedElsewhere: undefined };

export class KvSupply {
  /** The engine's own. */
  readonly exchange: Pick<KvExchange, "card" | "prepare" | "import" | "export">;
  readonly #tiers: TierStack | null;
  readonly #agent: Agent = transferAgent();
  readonly #pins: PinBudget;
  /** Until when callers want what; a block may come to its tier after it was asked to stay. */
  readonly #wanted = new Map<EngineKey, number>();
  /** By peer and outcome. */
  readonly transfers = new TransferCounts();
  readonly #pace: PrefillPace;

  readonly #minLoadMs: number;

  /** `tiers`: null where none is configured. `minLoadMs`: they are waited for this long at least, if they have to be. */
  constructor(exchange: KvSupply["exchange"], tiers: TierStack | null, minLoadMs = MIN_LOAD_MS) {
    this.#minLoadMs = minLoadMs;
    this.exchange = exchange;
    this.#tiers = tiers;
    const { blockTokens, kvTokenBytes } = exchange.card;
    this.#pace = new PrefillPace(blockTokens);
    const blocks = (tiers?.tiers[0]?.budgetBytes ?? 0) / (blockTokens * kvTokenBytes);
    this.#pins = new PinBudget({ ofOne: Math.floor(blocks * PINNED_BY_ONE), ofAll: Math.floor(blocks * PINNED_SHARE) });
  }

  /** For a peer that may have them: what rests below the device. */
  get source(): BlockSource | null {
    const tiers = this.#tiers;
    if (tiers === null) return null;
    return {
      load: (wanted, signal) => tiers.load(wanted, signal),
      restoreOf: async (prepared, signal) => (await this.#load(prepared, null, signal)).restore,
      keep: (prepared, prefilled, restore) => this.#computedForAnother(prepared, prefilled, restore),
      pin: (keys, untilMs) => {
        for (const key of keys) tiers.pin([key], Math.max(untilMs, this.#wanted.get(key) ?? 0));
        return () => {
          for (const key of keys) tiers.pin([key], this.#wanted.get(key) ?? 0);
        };
      },
    };
  }

  /** The blocks after those on the device that this replica's tiers give sooner than its engine computes them; what is still missing, if anyone was named, from there. */
  async supply(prepared: PreparedKv, order: SupplyOrder, signal: AbortSignal): Promise<Supplied> {
    const loaded = await this.#load(prepared, order.load ?? null, signal);
    const source = order.prefill ?? order.pull;
    const from = prepared.heldBlocks + (loaded.restore?.blocks.length ?? 0);
    if (source === null || signal.aborted || (order.prefill === null && from >= prepared.reusableBlocks)) return loaded;
    const startedAtMs = performance.now();
    const { card } = this.exchange;
    const link = {
      url: source.url,
      ticket: source.ticket,
      card,
      prepared,
      signal,
      dispatcher: this.#agent,
      expected: this.#pace.expectation,
    };
    const fetched =
      order.prefill === null
        ? await pullBlocks({ ...link, from, to: prepared.reusableBlocks })
        : await fetchPrefill({ ...link, have: from, api: order.api, historyBytes: order.historyBytes, body: order.body });
    const kind = order.prefill === null ? "pull" : "prefill";
    const transfer = reportOf(kind, source.replica, fetched, performance.now() - startedAtMs);
    this.transfers.add(kind, source.replica, transfer.why ?? "used");
    if (!fetched.ok) return { ...loaded, transfer };
    this.#offer(prepared, from, fetched.restore);
    const restore = joined(loaded.restore, fetched.restore, prepared.heldBlocks);
    const whole = fetched.restore.tail !== null;
    const cachedElsewhere = whole ? Math.max(fetched.cachedTokens, from * card.blockTokens) : undefined;
    if (cachedElsewhere !== undefined) {
      const askedTokens = prepared.tokens.length - from * card.blockTokens;
      this.#pace.learnElsewhere({ askedTokens, computedTokens: prepared.tokens.length - cachedElsewhere }, transfer.ms);
    }
    return { ...loaded, restore, transfer, cachedElsewhere };
  }

  /** A prompt is in place: what that took its engine, so that loads are compared with what computing really costs. */
  learnPrefill({ computedTokens, elapsedMs, restoreMs }: PrefillTimes, supplied: Supplied | null): void {
    const restored = supplied?.restore?.blocks.reduce((sum, block) => sum + block.tokens.length, 0) ?? 0;
    if (restored > 0) this.#tiers?.learnRestore(restored, restoreMs);
    this.#pace.learnHere(computedTokens, elapsedMs);
  }

  #computedForAnother(
    prepared: PreparedKv,
    { promptTokens, cachedTokens, prefillMs, restoreMs }: Prefilled,
    restore: Restore | undefined,
  ): void {
    const restored = restore?.blocks.reduce((sum, block) => sum + block.tokens.length, 0) ?? 0;
    if (restored > 0) this.#tiers?.learnRestore(restored, restoreMs);
    this.#pace.learnHere(promptTokens - cachedTokens, prefillMs - restoreMs);
    void this.keep(prepared, null).catch(() => undefined);
  }

  /** Copies the prompt's blocks below the device, off the caller's path; what is there already is not read again. `pin`: they stay for `ms`, within this salt's budget. */
  async keep(prepared: PreparedKv, pin: { salt: string; ms: number } | null): Promise<void> {
    const tiers = this.#tiers;
    if (tiers === null) return;
    await this.#copy(prepared, tiers);
    if (pin === null) return;
    const nowMs = steadyNowMs();
    const untilMs = nowMs + pin.ms;
    const keys = this.#pins.take(pin.salt, prepared.blockKeys.slice(0, prepared.reusableBlocks), untilMs, nowMs);
    for (const [key, wantedMs] of this.#wanted) if (wantedMs <= nowMs) this.#wanted.delete(key);
    for (const key of keys) {
      const wantedMs = Math.max(untilMs, this.#wanted.get(key) ?? 0);
      this.#wanted.set(key, wantedMs);
      tiers.pin([key], wantedMs);
    }
  }

  /** It came to a tier of this replica's. */
  arrived(key: EngineKey): void {
    const untilMs = this.#wanted.get(key);
    if (untilMs !== undefined && untilMs > steadyNowMs()) this.#tiers?.pin([key], untilMs);
  }

  async #copy(prepared: PreparedKv, tiers: TierStack): Promise<void> {
    await tiers.checked();
    const missing = prepared.blockKeys.slice(0, prepared.reusableBlocks).filter((key) => tiers.bitsOf(key) === 0);
    if (missing.length === 0) return;
    const parents = parentsOf(prepared);
    const blocks = await this.exchange.export(missing.slice(0, 512));
    tiers.offer(blocks.map((block): OfferedBlock => ({ ...block, parent: parents.get(block.key) ?? null })));
  }

  async close(): Promise<void> {
    await this.#agent.close();
    await this.#tiers?.close();
  }

  async #load(prepared: PreparedKv, told: boolean | null, signal: AbortSignal): Promise<Supplied> {
    const tiers = this.#tiers;
    if (tiers === null) return NOTHING;
    const keys = prepared.blockKeys.slice(prepared.heldBlocks, prepared.reusableBlocks);
    const { blockTokens } = this.exchange.card;
    let bits = 15;
    let count = 0;
    for (const key of keys) {
      const here = tiers.bitsOf(key);
      if (here === 0) break;
      bits &= here;
      count++;
    }
    if (count === 0) return NOTHING;
    const load = told ?? tiers.worthLoading(count * blockTokens, bits === 0 ? 8 : bits, this.#pace.msPerToken);
    if (!load) return NOTHING;
    const startedAtMs = performance.now();
    const wanted = keys.slice(0, count).map((key, index): WantedBlock => {
      const at = (prepared.heldBlocks + index) * blockTokens;
      return { key, tokens: prepared.tokens.subarray(at, at + blockTokens) };
    });
    // A tier that stands still must not cost more than computing what it has.
    const ms = Math.max(this.#minLoadMs, count * blockTokens * this.#pace.msPerToken);
    const blocks = await loadWithin(tiers, wanted, ms, signal);
    if (blocks.length === 0) return NOTHING;
    const restore: Restore = { from: prepared.heldBlocks, blocks, tail: null };
    return { ...NOTHING, restore, loadedTokens: blocks.length * blockTokens, loadMs: performance.now() - startedAtMs };
  }

  /** What came from another replica rests here too from now on. */
  #offer(prepared: PreparedKv, from: number, restore: Restore): void {
    const offered = restore.blocks.flatMap((payload, index): OfferedBlock[] => {
      const key = prepared.blockKeys[from + index];
      return key === undefined ? [] : [{ ...payload, key, parent: prepared.blockKeys[from + index - 1] ?? null }];
    });
    this.#tiers?.offer(offered);
  }
}

/** What has come by then. */
async function loadWithin(tiers: TierStack, wanted: readonly WantedBlock[], ms: number, signal: AbortSignal): Promise<KeyedBlock[]> {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  try {
    return await tiers.load(wanted, stop.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

function parentsOf({ blockKeys }: PreparedKv): Map<EngineKey, EngineKey | null> {
  return new Map(blockKeys.map((key, index) => [key, blockKeys[index - 1] ?? null]));
}

function joined(loaded: Restore | undefined, fetched: Restore, from: number): Restore {
  return { from, blocks: [...(loaded?.blocks ?? []), ...fetched.blocks], tail: fetched.tail };
}

function reportOf(kind: TransferReport["kind"], replica: string, fetched: Fetched, ms: number): TransferReport {
  const { bytes } = fetched;
  if (!fetched.ok) return { kind, replica, outcome: "fallback", why: fetched.why, bytes, ms, tokens: 0 };
  const tokens = fetched.restore.blocks.reduce((sum, block) => sum + block.tokens.length, 0);
  const why = fetched.shortfall === null ? {} : { why: fetched.shortfall };
  return { kind, replica, outcome: "used", ...why, bytes, ms, tokens };
}
