/** Kept decisions as their own tenant is shown them; whose they are is left out. */
import { decodeRecord, type EncodedRecord, type ExplainRecord, replay } from "./record.ts";
import { addFunnel, emptyFunnel, type Funnel } from "./funnel.ts";
import { hindsightOf, summaryOf } from "./hindsight.ts";
import { whyOf } from "./paragraph.ts";

/** One attempt, with every candidate's numbers, in words, and how it looks in hindsight (null as long as nothing came of it). Without what is only kept to decide again. */
export function tell(record: ExplainRecord): object {
  const { tenant: _tenant, view: _view, ...told } = record;
  const decision = replay(record);
  const hindsight = hindsightOf(record);
  return { ...told, why: whyOf(record, decision, hindsight), hindsight, candidates: decision.candidates };
}

/** What one pool keeps of a tenant's. */
export interface KeptDecisions {
  pool: string;
  funnel: Readonly<Funnel>;
  records: readonly EncodedRecord[];
}

/** The last `limit` of all of them, newest last, each as it takes to decide it again; with the funnel of the pools named and the hindsight of the decisions listed. */
export function tellAll(kept: readonly KeptDecisions[], limit: number): object {
  const funnel = emptyFunnel();
  for (const one of kept) addFunnel(funnel, one.funnel);
  const all = kept.flatMap(({ pool, records }) => records.map(({ tenant: _tenant, ...record }) => ({ pool, ...record })));
  all.sort((one, other) => one.decidedAtMs - other.decidedAtMs);
  const data = all.slice(-limit).map((record) => ({ ...record, hindsight: hindsightOf(decodeRecord({ ...record, tenant: "" })) }));
  const hindsight = summaryOf(data.flatMap((record) => record.hindsight ?? []));
  const only = kept.length === 1 ? kept[0]?.pool : undefined;
  return { object: "list", pool: only ?? null, pools: kept.map(({ pool }) => pool), funnel, hindsight, data };
}
