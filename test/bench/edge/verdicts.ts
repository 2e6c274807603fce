/** The figures beside what was aimed at. */
import type { DecideResult } from "./decide.ts";
import type { EventRates, Memory } from "./flow.ts";
import type { Cell } from "./grid.ts";

export interface Verdict {
  name: string;
  figure: string;
  aim: string;
  met: boolean;
}

const KB = 1_024;
/** Of SMG's CPU. */
const MOST_OF_SMG: Record<number, number> = { [2 * KB]: 1.5, [64 * KB]: 1, [220 * KB]: 1 };

function againstSmg(cells: readonly Cell[]): Verdict[] {
  const found: Verdict[] = [];
  for (const { promptBytes, mode, concurrency, nonAscii, arms } of cells) {
    const edge = arms["edge"]?.cpuMsPerRequest;
    const smg = arms["smg"]?.cpuMsPerRequest;
    const most = MOST_OF_SMG[promptBytes];
    if (edge == null || smg == null || most === undefined || nonAscii) continue;
    const name = `CPU at ${promptBytes / KB} KB, ${mode}, ${concurrency} at once, edge / SMG`;
    const figure = `${(edge / smg).toFixed(2)} (${edge} / ${smg} ms)`;
    found.push({ name, figure, aim: `≤ ${most}`, met: edge / smg <= most });
  }
  return found;
}

function againstChat(cells: readonly Cell[]): Verdict[] {
  return cells.flatMap(({ promptBytes, arms: { chat, ...others } }) =>
    Object.entries(others).map(([api, arm]): Verdict => {
      const ratio = (arm.cpuMsPerRequest ?? 0) / (chat?.cpuMsPerRequest ?? 0);
      const figure = `${ratio.toFixed(2)} (${arm.cpuMsPerRequest} / ${chat?.cpuMsPerRequest} ms)`;
      return { name: `CPU at ${promptBytes / KB} KB, ${api} / chat`, figure, aim: "≤ 1.1", met: ratio <= 1.1 };
    }),
  );
}

function nagle(cells: readonly Cell[]): Verdict {
  const alone = cells.filter(({ concurrency, promptBytes }) => concurrency === 1 && promptBytes <= 220 * KB);
  const slow = alone.reduce((sum, { arms }) => sum + (arms["edge"]?.near40Ms ?? 0), 0);
  const slowDirect = alone.reduce((sum, { arms }) => sum + (arms["direct"]?.near40Ms ?? 0), 0);
  const all = alone.reduce((sum, { arms }) => sum + (arms["edge"]?.requests ?? 0), 0);
  const figure = `${slow} of ${all} requests took 38 to 60 ms (direct: ${slowDirect})`;
  return {
    name: "no 40 ms stalls at concurrency 1",
    figure,
    aim: "≤ 0.1 % and the median far below",
    met: slow <= Math.max(1, all / 1_000),
  };
}

function decisions(decide: DecideResult): Verdict[] {
  return Object.entries(decide.runs).flatMap(([name, run]): Verdict[] => {
    if (run.inFlight === 1) return [];
    const title = `decisions, ${name}, ${run.inFlight} in flight, ${decide.indexEntries} entries`;
    return [
      { name: title, figure: `${run.callsPerS}/s`, aim: "≥ 5,000/s", met: run.callsPerS >= 5_000 },
      { name: `${title}, mean`, figure: `${run.meanUs} us`, aim: "≤ 200 us", met: run.meanUs <= 200 },
    ];
  });
}

export function verdicts(told: {
  grid: Cell[] | null;
  apis: Cell[] | null;
  events: EventRates[] | null;
  memory: Memory | null;
  decide: DecideResult | null;
}): Verdict[] {
  const found: Verdict[] = [];
  if (told.grid !== null) found.push(...againstSmg(told.grid), nagle(told.grid));
  if (told.apis !== null) found.push(...againstChat(told.apis));
  if (told.decide !== null) found.push(...decisions(told.decide));
  for (const { edgeToPassthrough: ratio, eventsPerStream } of told.events ?? []) {
    const name = `streamed events a second, ${eventsPerStream} a stream, edge / passthrough`;
    found.push({ name, figure: String(ratio), aim: "≥ 0.9", met: ratio >= 0.9 });
  }
  const rss = told.memory?.rssMb["edge"];
  if (rss !== undefined) {
    const half = rss[Math.floor(rss.length / 2)] ?? 0;
    const last = rss.at(-1) ?? 0;
    const figure = `${rss.join(" → ")} MB`;
    found.push({ name: "RSS while unique prompts pass", figure, aim: "the second half adds < 15 %", met: last < half * 1.15 });
  }
  return found;
}
