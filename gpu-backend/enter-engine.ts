/** How a request enters the engine: read first, then run with the KV that is to be had elsewhere, where the engine takes any. */
import type { Engine, EngineRefusal, EngineRequest, EngineRun } from "./engine/engine.ts";
import type { KvSupply, Supplied, SupplyOrder } from "./kv-supply.ts";
import type { PrefillTimes } from "./prefill-pace.ts";
import { suppliedRun } from "./supplied-run.ts";

/** What is done about one prompt's KV beside its run. */
export interface PromptKv {
  /** What came from elsewhere; null before that is known, and always where nothing can come. */
  supplied(): Supplied | null;
  /** The prompt is computed: what that took. */
  computed(times: PrefillTimes): void;
  /** Copies its blocks to lower tiers. `pin`: they stay there for `ms`. */
  keep(pin: { salt: string; ms: number } | null): void;
}

/** `first`: as the engine got it, its prompt as tokens where it is known as such. */
type Entered =
  | { ok: true; first: EngineRequest; run: EngineRun; kv: PromptKv }
  | { ok: false; first: EngineRequest; refusal: EngineRefusal };

const NO_KV: PromptKv = { supplied: () => null, computed: () => undefined, keep: () => undefined };

/** `supply`: null where the engine's blocks do not leave it. Nothing is loaded or fetched then, whatever the order names. */
export function enterEngine(engine: Engine, supply: KvSupply | null, asked: EngineRequest, order: SupplyOrder): Promise<Entered> {
  return supply === null ? enterAlone(engine, asked) : enterSupplied(engine, supply, asked, order);
}

async function enterAlone(engine: Engine, asked: EngineRequest): Promise<Entered> {
  const prepared = await engine.prepare(asked);
  if (prepared.type === "refused") return { ok: false, first: asked, refusal: prepared };
  const first = prepared.tokens === null ? asked : { ...asked, tokens: prepared.tokens };
  const run = await engine.run(first);
  return run.type === "accepted" ? { ok: true, first, run, kv: NO_KV } : { ok: false, first, refusal: run };
}

async function enterSupplied(engine: Engine, supply: KvSupply, asked: EngineRequest, order: SupplyOrder): Promise<Entered> {
  const { exchange } = supply;
  const prepared = await exchange.prepare(asked);
  if (prepared.type === "refused") return { ok: false, first: asked, refusal: prepared };
  const first = { ...asked, tokens: prepared.tokens };
  let supplied: Supplied | null = null;
  const kv: PromptKv = {
    supplied: () => supplied,
    computed: (times) => supply.learnPrefill(times, supplied),
    keep: (pin) => void supply.keep(prepared, pin).catch(() => undefined),
  };
  const begin = async (signal: AbortSignal): Promise<EngineRun | EngineRefusal> => {
    supplied ??= await supply.supply(prepared, order, signal);
    const { restore } = supplied;
    return restore === undefined ? engine.run(first) : exchange.import(first, restore);
  };
  // A prefill elsewhere may take long: the edge learns at once that the request arrived.
  if (order.prefill !== null || order.pull !== null) return { ok: true, first, kv, run: suppliedRun(begin) };
  const run = await begin(new AbortController().signal);
  return run.type === "accepted" ? { ok: true, first, kv, run } : { ok: false, first, refusal: run };
}
