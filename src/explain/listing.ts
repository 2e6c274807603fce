/** Stored decisions as their own tenant sees them. The tenant's name is left out. */
import { decodeRecord, type EncodedRecord, type ExplainRecord, replay } from "./record.ts";
import { addFunnel, emptyFunnel, type Funnel } from "./funnel.ts";
import { hindsightOf, summaryOf } from "./hindsight.ts";
import { whyOf } from "./paragraph.ts";

/** One attempt: every candidate's numbers, the reason in words, and its hindsight (null before the first token). The view, stored for replay, is left out. */
export function describeAttempt(record: ExplainRecord): object {
  const { tenant: _tenant, view: _view, ...told } = record;
  const decision = replay(record);
  const hindsight = hindsightOf(record);
  return { ...told, why: whyOf(record, decision, hindsight), hindsight, candidates: decision.candidates };
}

/** A tenant's decisions that one pool stores. */
export interface PoolDecisions {
  pool: string;
  funnel: Readonly<Funnel>;
  records: readonly EncodedRecord[];
}

/** The last `limit` decisions of all pools, newest last, each with its view for replay; with the funnel of these pools and the hindsight of the listed decisions. */
export function listDecisions(kept: readonly PoolDecisions[], limit: number): object {
  const funnel = emptyFunnel();
  for (const one of kept) addFunnel(funnel, one.funnel);
  const all = kept.flatMap(({ pool, records }) => records.map(({ tenant: _tenant, ...record }) => ({ pool, ...record })));
  all.sort((one, other) => one.decidedAtMs - other.decidedAtMs);
  const data = all.slice(-limit).map((record) => ({ ...record, hindsight: hindsightOf(decodeRecord({ ...record, tenant: "" })) }));
  const hindsight = summaryOf(data.flatMap((record) => record.hindsight ?? []));
  const only = kept.length === 1 ? kept[0]?.pool : undefined;
  return { object: "list", pool: only ?? null, pools: kept.map(({ pool }) => pool), funnel, hindsight, data };
}
