import { parseArgs } from "node:util";
import { DEFAULT_PROFILE, PROFILE_NAMES, type ProfileName } from "../src/decision/profiles.ts";
import { PEER_NAMES, type PeerName, isPeerName } from "../simulator/peers/peers.ts";
import { ENGINES, type EngineName } from "../simulator/constants.ts";
import { POOL_CHOICES, type Regions } from "../simulator/regional-router.ts";
import { TOPOLOGIES, type Topology } from "../simulator/simulate.ts";
import { WORKLOAD_NAMES, type WorkloadName } from "../simulator/workload.ts";

/** The product, by its profile, or a peer's rule. */
export type PolicyName = { kind: "product"; profile: ProfileName } | { kind: "baseline"; name: PeerName };

export interface SimulateOptions {
  workloads: WorkloadName[];
  /** A file in Mooncake's format; null: generated workloads only. */
  trace: string | null;
  models: EngineName[];
  replicas: number;
  loads: number[];
  policies: PolicyName[];
  /** Null: as many as the trace has, 12,000 for generated ones. */
  requests: number | null;
  seed: number;
  constants: number;
  eventDelayMs: number;
  eventLoss: number;
  announced: boolean;
  edges: number;
  bookingMs: number;
  rttMs: number;
  patienceMs: number | null;
  tpotMs: number | null;
  /** Null: one. */
  regions: Regions | null;
  topology: Topology;
  hostTokens: number;
  /** A replica that leaves and comes back; null: none. */
  lose: { atMs: number; forMs: number } | null;
  json: string | null;
  log: string | null;
  html: string | null;
}

export const DEFAULT_REQUESTS = 12_000;

export const USAGE = `warmpath simulate [options]
  --workload A,B      ${WORKLOAD_NAMES.join(", ")}, or all (default all, unless there is a trace)
  --trace FILE        open arrivals from a file in Mooncake's format (JSON lines with timestamp, input_length, output_length, hash_ids)
  --model A,B         ${Object.keys(ENGINES).join(", ")} (default llama-8b-h100)
  --replicas N        (default 8)
  --load L,M          shares of the rate at which the fleet is saturated under a plain policy (default 0.7)
  --policies A,B      warmpath, warmpath:PROFILE, a peer's rule, or all (default warmpath,round-robin,lmetric,llm-d,smg-cache-aware,dynamo-linear)
                      profiles: ${PROFILE_NAMES.join(", ")}
                      peers: ${PEER_NAMES.join(", ")}
  --requests N        (default: all of the trace, ${DEFAULT_REQUESTS} of a generated workload)
  --seed N            of workloads and of chance (default 1)
  --constants X       every step of the engines takes X times as long (default 1)
  --event-delay MS    what replicas hold is known this much later (default 0)
  --event-loss SHARE  share of residency frames that are lost, 0 to 1 (default 0)
  --no-events         replicas do not say what they hold
  --edges N           routers that do not share their books; Warmpath's one book serves any number (default 1)
  --booking-delay MS  to the decision and back (default 0)
  --rtt MS            from edge to replica and back (default 0)
  --regions A,B,C     percent of the requests from each region; each has a pool of its share of the replicas (Warmpath only; default one region)
  --region-rtt MS     from one region to another and back (default 60)
  --pool-choice NAME  ${POOL_CHOICES.join(", ")} (default cards)
  --tpot MS           clients ask for a token at least every MS (default: they do not)
  --patience MS       a client without a first token gives up after MS (default never)
  --topology NAME     aggregated, elastic (blocks move as the product decides) or disaggregated (default aggregated)
  --host-tokens N     KV tokens that each replica's host memory holds (default 0)
  --lose AT,FOR       replica 0 is lost AT seconds after the start and comes back empty FOR seconds later
  --json FILE         everything as JSON
  --log FILE          Warmpath's decisions, one a line, for warmpath replay
  --html FILE         a report with plots`;

const DEFAULT_POLICIES = "warmpath,round-robin,lmetric,llm-d,smg-cache-aware,dynamo-linear";

function number(text: string, name: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least && value <= most))
    throw new RangeError(`--${name} must be a number from ${least} to ${most}, not ${JSON.stringify(text)}.`);
  return value;
}

function integer(text: string, name: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || text.trim() === "" || value < least || value > most)
    throw new RangeError(`--${name} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}.`);
  return value;
}

function oneOf<T extends string>(text: string, name: string, known: readonly T[]): T {
  const found = known.find((one) => one === text);
  if (found === undefined) throw new RangeError(`--${name} must be one of ${known.join(", ")}, not ${JSON.stringify(text)}.`);
  return found;
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function some(parts: string[], name: string): string[] {
  if (parts.length === 0) throw new RangeError(`--${name} names nothing.`);
  return parts;
}

function policies(text: string): PolicyName[] {
  const product: PolicyName = { kind: "product", profile: DEFAULT_PROFILE };
  if (text === "all") return [product, ...PEER_NAMES.map((name): PolicyName => ({ kind: "baseline", name }))];
  const named = list(text).map((name): PolicyName => {
    if (name === "warmpath") return product;
    const profile = PROFILE_NAMES.find((one) => name === `warmpath:${one}`);
    if (profile !== undefined) return { kind: "product", profile };
    if (isPeerName(name)) return { kind: "baseline", name };
    throw new RangeError(`--policies: ${JSON.stringify(name)} is none of warmpath, warmpath:PROFILE, ${PEER_NAMES.join(", ")}.`);
  });
  if (named.length === 0) throw new RangeError("--policies names no policy.");
  return named;
}

function workloads(text: string | undefined, hasTrace: boolean): WorkloadName[] {
  if (text === undefined) return hasTrace ? [] : [...WORKLOAD_NAMES];
  if (text === "all") return [...WORKLOAD_NAMES];
  return some(list(text), "workload").map((name) => oneOf(name, "workload", WORKLOAD_NAMES));
}

function regions(text: string | undefined, rtt: string, near: string, choice: string): Regions | null {
  const rttMs = number(rtt, "region-rtt", 0, 60_000);
  const pools = oneOf(choice, "pool-choice", POOL_CHOICES);
  if (text === undefined) return null;
  const shares = some(list(text), "regions").map((share) => number(share, "regions", 0, 100) / 100);
  if (Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) > 1e-6)
    throw new RangeError(`--regions must sum to 100, not as in ${JSON.stringify(text)}.`);
  return { shares, rttMs, nearRttMs: number(near, "rtt", 0, 60_000), choice: pools };
}

function loss(text: string | undefined): { atMs: number; forMs: number } | null {
  if (text === undefined) return null;
  const [at = "", lasting = ""] = text.split(",");
  return { atMs: 1_000 * number(at, "lose", 0, 1e6), forMs: 1_000 * number(lasting, "lose", 0, 1e6) };
}

const OPTIONS = {
  workload: { type: "string" },
  trace: { type: "string" },
  model: { type: "string", default: "llama-8b-h100" },
  replicas: { type: "string", default: "8" },
  load: { type: "string", default: "0.7" },
  policies: { type: "string", default: DEFAULT_POLICIES },
  requests: { type: "string" },
  seed: { type: "string", default: "1" },
  constants: { type: "string", default: "1" },
  "event-delay": { type: "string", default: "0" },
  "event-loss": { type: "string", default: "0" },
  "no-events": { type: "boolean", default: false },
  edges: { type: "string", default: "1" },
  "booking-delay": { type: "string", default: "0" },
  rtt: { type: "string", default: "0" },
  regions: { type: "string" },
  "region-rtt": { type: "string", default: "60" },
  "pool-choice": { type: "string", default: "cards" },
  patience: { type: "string" },
  tpot: { type: "string" },
  topology: { type: "string", default: "aggregated" },
  "host-tokens": { type: "string", default: "0" },
  lose: { type: "string" },
  json: { type: "string" },
  log: { type: "string" },
  html: { type: "string" },
  help: { type: "boolean", short: "h", default: false },
} as const;

const ENGINE_NAMES: readonly EngineName[] = ["llama-8b-h100", "llama-70b-tp4-h100"];

/** Throws a RangeError or TypeError whose message is fit for the user. */
export function parseSimulateOptions(args: string[]): SimulateOptions | "help" {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) return "help";
  const topology = oneOf(values.topology, "topology", TOPOLOGIES);
  return {
    workloads: workloads(values.workload, values.trace !== undefined),
    trace: values.trace ?? null,
    models: some(list(values.model), "model").map((name) => oneOf(name, "model", ENGINE_NAMES)),
    replicas: integer(values.replicas, "replicas", topology === "disaggregated" ? 2 : 1, 64),
    loads: some(list(values.load), "load").map((load) => number(load, "load", 0.01, 100)),
    policies: policies(values.policies),
    requests: values.requests === undefined ? null : integer(values.requests, "requests", 10, 1_000_000),
    seed: integer(values.seed, "seed", 0, 0xffffffff),
    constants: number(values.constants, "constants", 0.01, 100),
    eventDelayMs: number(values["event-delay"], "event-delay", 0, 600_000),
    eventLoss: number(values["event-loss"], "event-loss", 0, 1),
    announced: !values["no-events"],
    edges: integer(values.edges, "edges", 1, 1_024),
    bookingMs: number(values["booking-delay"], "booking-delay", 0, 60_000),
    rttMs: number(values.rtt, "rtt", 0, 60_000),
    tpotMs: values.tpot === undefined ? null : number(values.tpot, "tpot", 1, 60_000),
    patienceMs: values.patience === undefined ? null : number(values.patience, "patience", 1, 1e9),
    regions: regions(values.regions, values["region-rtt"], values.rtt, values["pool-choice"]),
    topology,
    hostTokens: integer(values["host-tokens"], "host-tokens", 0, 1e10),
    lose: loss(values.lose),
    json: values.json ?? null,
    log: values.log ?? null,
    html: values.html ?? null,
  };
}
