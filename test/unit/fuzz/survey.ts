/** Which invariants the core breaks, and by which seeds: `node test/unit/fuzz/survey.ts [first seed] [histories] [theme]`. */
import { historyOf, themeOf } from "./generate.ts";
import { INVARIANTS, played } from "./play.ts";

const [first = 1, count = 200] = process.argv.slice(2, 4).map(Number);
const only = process.argv[4];
const found = new Map<string, { seeds: number[]; message: string; events: number; themes: Set<string> }>();
const perTheme = new Map<string, { count: number; events: number; ms: number }>();
let events = 0;
const startedAt = performance.now();
for (let seed = first; seed < first + count; seed++) {
  const before = performance.now();
  const { violations, events: own } = played(historyOf(seed, only), INVARIANTS, "end");
  const theme = only ?? themeOf(seed);
  const sum = perTheme.get(theme) ?? { count: 0, events: 0, ms: 0 };
  perTheme.set(theme, { count: sum.count + 1, events: sum.events + own, ms: sum.ms + performance.now() - before });
  for (const { invariant, message, events: at } of violations) {
    const known = found.get(invariant) ?? { seeds: [], message, events: events + at, themes: new Set<string>() };
    known.seeds.push(seed);
    known.themes.add(theme);
    found.set(invariant, known);
  }
  events += own;
}
const seconds = (performance.now() - startedAt) / 1_000;
for (const { name, says } of [...INVARIANTS, { name: "throws nothing", says: "" }]) {
  const { seeds = [], message = "", events: at = 0, themes = new Set<string>() } = found.get(name) ?? {};
  process.stdout.write(`${seeds.length === 0 ? "held  " : "BROKEN"} ${name}: ${says}\n`);
  if (seeds.length > 0) process.stdout.write(`       ${seeds.length} seeds: ${seeds.slice(0, 6).join(", ")}; ${[...themes].join(", ")}; after ${at} events\n       ${message.slice(0, 600)}\n`);
}
for (const [theme, sum] of perTheme) process.stdout.write(`${theme}: ${sum.count} histories, ${Math.round(sum.events / sum.count)} events each, ${Math.round(sum.ms / sum.count)} ms each\n`);
process.stdout.write(`${events} events in ${seconds.toFixed(1)} s, ${Math.round(events / seconds)} a second\n`);
