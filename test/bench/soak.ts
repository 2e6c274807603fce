/**
 * `node test/bench/soak.ts [--only saturation|hostile-kv|door|long] [--minutes 10] [--requests 300000] [--real 2000] [--pace 1]`: ten minutes at
 * saturation (soak/saturation.ts), as many of hostile KV (soak/hostile-kv.ts) and at the door (soak/door.ts), then the long half (soak/long.ts). Exits with 1 when a budget or a
 * verdict is missed.
 */
import { parseArgs } from "node:util";
import { endChildren } from "./edge/child.ts";
import type { Check } from "./soak/check.ts";
import { atTheDoor } from "./soak/door.ts";
import { endEdges } from "./soak/edge-process.ts";
import { longHalf, WHOLE } from "./soak/long.ts";
import { hostileKv } from "./soak/hostile-kv.ts";
import { saturationHalf } from "./soak/saturation.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    minutes: { type: "string", default: "10" },
    requests: { type: "string", default: String(WHOLE.requests) },
    real: { type: "string", default: String(WHOLE.realRequests) },
    pace: { type: "string", default: "1" },
  },
});

function number(name: "minutes" | "requests" | "real" | "pace", least: number): number {
  const value = Number(values[name]);
  if (!(value >= least)) throw new RangeError(`--${name} is a number from ${least} on.`);
  return value;
}

const HALVES: Record<string, () => Promise<Check[]>> = {
  saturation: () => saturationHalf(number("minutes", Number.MIN_VALUE)),
  "hostile-kv": () => hostileKv(number("minutes", Number.MIN_VALUE)),
  door: () => atTheDoor(number("minutes", Number.MIN_VALUE)),
  long: () => longHalf({ requests: number("requests", 3_000), realRequests: number("real", 1), pace: number("pace", 0.01) }),
};
const chosen = values.only === undefined ? Object.values(HALVES) : [HALVES[values.only]];
process.once("exit", () => {
  endChildren();
  endEdges();
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

const checks: Check[] = [];
for (const half of chosen) {
  if (half === undefined) throw new RangeError(`--only is one of ${Object.keys(HALVES).join(", ")}.`);
  checks.push(...(await half()));
}
for (const { ok, what, value, limit } of checks) console.log(`${ok ? "met   " : "MISSED"} ${what}: ${value} (limit ${limit})`);
process.exitCode = checks.every(({ ok }) => ok) ? 0 : 1;
