/**
 * `node test/unit/fuzz/find.ts [--events N] [--seed S] [--theme T] [--only INVARIANT] [--all]`: plays until an invariant is broken and tells which, as one line of JSON; exit
 * status 0 when one was. `--all` goes on and lists every invariant, with the first seeds that break it.
 */
import { parseArgs } from "node:util";
import { INVARIANTS } from "./play.ts";
import { type Found, fuzz } from "./run.ts";

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "500000" },
    seed: { type: "string", default: "1" },
    theme: { type: "string" },
    only: { type: "string", multiple: true },
    all: { type: "boolean", default: false },
  },
});

const startedAt = performance.now();
const { accounts, found, histories, events } = fuzz({
  events: Number(values.events),
  seed: Number(values.seed),
  theme: values.theme,
  invariants: INVARIANTS.filter(({ name }) => values.only?.includes(name) ?? true),
  ...(values.all ? { goesOn: true } : { mostFound: 1 }),
});
const seconds = (performance.now() - startedAt) / 1_000;

if (values.all) tellAll(Map.groupBy(found, ({ invariant }) => invariant));
else {
  const [first] = found;
  process.stdout.write(`${JSON.stringify(first === undefined ? { found: false, histories, events } : { found: true, ...first })}\n`);
  process.exitCode = first === undefined ? 1 : 0;
}

function tellAll(all: ReadonlyMap<string, readonly Found[]>): void {
  const lines = [...INVARIANTS, { name: "throws nothing", says: "the core throws nothing" }].flatMap(({ name, says }) => {
    const broken = all.get(name) ?? [];
    const [first] = broken;
    if (first === undefined) return [`held    ${name}: ${says}`];
    const seeds = broken.slice(0, 6).map(({ seed, theme }) => `${theme} ${seed}`);
    return [
      `BROKEN  ${name}: ${says}`,
      `        by ${broken.length} of ${histories} histories, first after ${first.afterEvents} events: ${seeds.join(", ")}`,
      `        ${first.message.slice(0, 400)}`,
    ];
  });
  for (const { theme, histories: of, events: many, ms } of accounts)
    lines.push(`${theme}: ${of} histories, ${many} events, ${Math.round(ms)} ms`);
  process.stdout.write(`${lines.join("\n")}\n${events} events in ${seconds.toFixed(1)} s, ${Math.round(events / seconds)} a second\n`);
}
