/**
 * The walls of the house: what each room may import. The linter's rules are made from this table:
 *   node tools/walls.ts        writes .oxlintrc.json
 * test/unit/house/walls.test.ts tries an import through every wall.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Room {
  /** Other rooms that it may import; of all that are not here it knows nothing. */
  may: readonly string[];
  /** Packages and platforms that it must not import, as the linter's patterns. */
  not: readonly string[];
  why: string;
}

const PLATFORMS = ["node:*", "cloudflare:*", "hono", "hono/*", "undici", "wrangler"];
const PURE = [...PLATFORMS, "zod"];
const core = (why: string, ...may: string[]): Room => ({ may, not: PURE, why });
const CORE = ["prefix", "records", "tenancy", "residency", "pool", "decision", "rates", "explain", "router", "edge"].map(
  (room) => `src/${room}`,
);

/** Folders. `src/errors.ts` and `src/prometheus.ts` are open to all. */
export const ROOMS: Readonly<Record<string, Room>> = {
  "src/prefix": core("prefix imports errors only"),
  "src/records": core("records import errors only"),
  "src/tenancy": core("tenancy imports errors only"),
  "src/residency": core("residency imports prefix only", "src/prefix"),
  "src/pool": core("pool imports residency and prefix only", "src/residency", "src/prefix"),
  "src/decision": core(
    "a decision is made of a pool's parts, and knows no rates, records or routers",
    "src/pool",
    "src/residency",
    "src/prefix",
  ),
  "src/rates": core("rates are learnt from reports, and decide nothing", "src/decision", "src/pool", "src/residency", "src/prefix"),
  "src/explain": core("what is explained are decisions", "src/decision", "src/pool", "src/residency", "src/prefix"),
  "src/router": core(
    "the router puts a pool together, and knows no edge and no wire",
    "src/decision",
    "src/rates",
    "src/explain",
    "src/pool",
    "src/residency",
    "src/prefix",
  ),
  "src/edge": core("an edge knows pools by their cards", "src/router", "src/decision", "src/pool", "src/residency", "src/prefix"),
  "src/wire": { may: CORE, not: PLATFORMS, why: "the core is pure" },
  simulator: { may: [...CORE, "src/wire"], not: PURE, why: "the simulator runs the core, in virtual time" },
  workers: { may: [...CORE, "src/wire"], not: ["undici"], why: "the edge imports src only" },
  "gpu-backend": { may: [...CORE, "src/wire"], not: ["hono", "hono/*"], why: "the replica imports src only" },
  cli: { may: [...CORE, "src/wire", "simulator", "gpu-backend"], not: [], why: "commands start edges and never import one" },
};

/** Folders of a room that must do without more packages than the room. */
export const WITHOUT: Readonly<Record<string, { room: string; not: readonly string[]; why: string }>> = {
  "workers/inference": { room: "workers", not: ["hono", "hono/*"], why: "jobs and batches call it, too: it knows no HTTP framework" },
};

/** Rooms without clock and chance: both are given to them. */
const isPure = (room: string): boolean => room.startsWith("src/") || room === "simulator";

/** The other rooms that a room must not import. */
export function forbiddenTo(room: string): string[] {
  return Object.keys(ROOMS).filter((other) => other !== room && !ROOMS[room]?.may.includes(other));
}

/** As the linter matches specifiers: `../pool/lease.ts` is in `src/pool`. */
const patternOf = (room: string): string => `**/${room.slice(room.lastIndexOf("/") + 1)}/**`;

/** What lies in `src` itself is open to all, so it imports nothing. */
const OPEN = "src/*.ts";
const BELOW = "/**/*.{ts,tsx}";
const ENGINE = { group: ["**/engine/*/**"], message: "an engine's folder is its own: open-engine chooses it, the rest knows the contract" };

/** `files`: of the whole room, or of a folder in it. */
function overrideOf(room: string, { not, why }: Pick<Room, "not" | "why">, files = room === OPEN ? OPEN : `${room}${BELOW}`): object {
  const patterns: object[] = [{ group: [...forbiddenTo(room).map(patternOf), ...not], message: why }];
  if (room === "gpu-backend") patterns.push(ENGINE);
  const walls = { "no-restricted-imports": ["error", { patterns }] };
  const pure = {
    "no-restricted-globals": ["error", "Date", "setTimeout", "setInterval", "fetch", "crypto", "performance", "process"],
    "no-restricted-properties": ["error", { object: "Math", property: "random" }],
  };
  return { files: [files], rules: isPure(room) ? { ...walls, ...pure } : walls };
}

const FILE = join(import.meta.dirname, "../.oxlintrc.json");

/** The linter's file with these walls instead of its own. */
export function withWalls(config: string): string {
  const rules = JSON.parse(config) as { overrides: { files: string[] }[] };
  const isWall = ({ files }: { files: string[] }): boolean =>
    files.every((file) => file === OPEN || Object.hasOwn({ ...ROOMS, ...WITHOUT }, file.replace(BELOW, "")));
  const others = rules.overrides.filter((override) => !isWall(override));
  const made = [
    overrideOf(OPEN, core("what is open to all imports nothing")),
    ...Object.entries(ROOMS).map(([room, of]) => overrideOf(room, of)),
    // The last that matches a file holds, so these have their room's rules, too.
    ...Object.entries(WITHOUT).map(([folder, { room, not, why }]) =>
      overrideOf(room, { not: [...(ROOMS[room]?.not ?? []), ...not], why }, `${folder}${BELOW}`),
    ),
  ];
  return JSON.stringify({ ...rules, overrides: [...made, ...others] }, null, 2);
}

if (process.argv[1] === import.meta.filename) writeFileSync(FILE, `${withWalls(readFileSync(FILE, "utf8"))}\n`);
