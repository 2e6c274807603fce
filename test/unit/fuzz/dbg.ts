import { historyOf } from "./generate.ts";
import { INVARIANTS } from "./play.ts";
import { World } from "./world.ts";
const [seed, theme] = [Number(process.argv[2]), process.argv[3]];
const h = historyOf(seed, theme);
console.log(JSON.stringify(h.setup));
const seen: Record<string, number> = {};
const w = new World(h.setup, [...INVARIANTS, { name: "dbg", says: "", watch: (world) => ({
  placed: (r, rep, a) => { seen[`${a.pull ? "pull" : a.prefill ? "prefill" : a.load ? "load" : "plain"} r${rep.number}`] = (seen[`${a.pull ? "pull" : a.prefill ? "prefill" : a.load ? "load" : "plain"} r${rep.number}`] ?? 0) + 1;
   if (process.argv[4]) console.log(world.nowMs, r.id, r.prompt.tokens, rep.name, a.pull?.tokens, a.cachedTokens, world.pool.state.rates.of(rep.slot).transferMsPerToken, world.pool.state.line.length); },
  answered: (r, a) => { if (a?.type !== "replica") { const k = a === null ? "waits" : a.type; seen[k] = (seen[k] ?? 0) + 1; if (process.argv[4]) console.log(world.nowMs, r.id, k, world.pool.state.rates.meanOutputTokens); } },
}) }]);
w.play(h.steps.slice(0, Number(process.argv[5] ?? 1e9)));
console.log(seen, w.violations);
