/** A part's figures, and what they are judged by. */
import { percentile, round } from "../tiers/figures.ts";
import { atLeast, atMost, type Check } from "./check.ts";
import type { AttackerReply } from "./door-attacker.ts";
import type { Honest } from "./door-honest.ts";
import type { Busy, Rest, Taken } from "./door-rig.ts";

/** A calm part before and after each other one: what else runs on the machine comes and goes, and is about the same in neighbours. */
export const PARTS = ["calm 1", "hostile client", "calm 2", "strangers", "calm 3", "full disk", "calm 4"] as const;
export type PartName = (typeof PARTS)[number];

/** A part's p99 over that of the calm parts beside it, together. */
const MOST_RATIO = 2;
/** How much room there is may be asked once a second, and a request is on its way. */
const HEAL_MS = 5_000;
/** Of what comes in and is answered. */
const MOST_EDGE_MIB = 768;
/** Connections that this process itself keeps. */
const SPARE_DESCRIPTORS = 8;
const GROWTH = 1.3;
const GROWTH_MIB = 48;
const MOST_HEALTH_MS = 1_000;
const MOST_MESSAGES = 10;

export interface Watched {
  health: { asked: number; notOk: number; worstMs: number };
  peakEdgeMib: number;
  peakDescriptors: number;
}

interface Times {
  requests: number;
  failed: number;
  storageFull: number;
  /** What was said of those that failed, digits apart → how often. */
  messages: Record<string, number>;
  /** Of whole answers, to the last byte: a refusal is quick. */
  p50Ms: number;
  p99Ms: number;
  worstMs: number;
  firstP50Ms: number;
  firstP99Ms: number;
  /** p99 of each kind. */
  kinds: Record<string, number>;
}

export interface Row extends Times, Watched, Taken {
  part: PartName;
  /** Of the calm parts beside it; null in a calm part. */
  calmP99Ms: number | null;
  /** Processors, on average over the part. */
  busy: Busy;
  attacks: AttackerReply;
}

function countMessages(honest: readonly Honest[]): Record<string, number> {
  const messages = new Map<string, number>();
  for (const { kind, said } of honest) {
    const message = `${kind}: ${said.replaceAll(/\d+/g, "N")}`;
    if (said !== "" && (messages.has(message) || messages.size < MOST_MESSAGES)) messages.set(message, (messages.get(message) ?? 0) + 1);
  }
  return Object.fromEntries(messages);
}

export function timesOf(honest: readonly Honest[]): Times {
  const done = honest.filter(({ outcome }) => outcome === "done");
  const at = (some: readonly Honest[], share: number): number =>
    round(
      percentile(
        some.map(({ ms }) => ms),
        share,
      ),
    );
  const firsts = done.flatMap(({ firstMs }) => firstMs ?? []);
  const kinds = [...new Set(done.map(({ kind }) => kind))].toSorted();
  return {
    requests: honest.length,
    failed: honest.filter(({ outcome }) => outcome === "failed").length,
    storageFull: honest.filter(({ outcome }) => outcome === "storage_full").length,
    messages: countMessages(honest),
    p50Ms: at(done, 0.5),
    p99Ms: at(done, 0.99),
    worstMs: at(done, 1),
    firstP50Ms: round(percentile(firsts, 0.5)),
    firstP99Ms: round(percentile(firsts, 0.99)),
    kinds: Object.fromEntries(
      kinds.map((name) => [
        name,
        at(
          done.filter(({ kind }) => kind === name),
          0.99,
        ),
      ]),
    ),
  };
}

export interface Ended {
  /** Before the first part, nobody connected. */
  base: Taken;
  last: Taken;
  rest: Rest;
  processes: number;
  healMs: number;
}

export const isCalm = (part: PartName): boolean => part.startsWith("calm");

/** The rows with what they are held against. */
export function withCalm(rows: readonly Omit<Row, "calmP99Ms">[], honestIn: ReadonlyMap<PartName, readonly Honest[]>): Row[] {
  return rows.map((row, at) => {
    if (isCalm(row.part)) return { ...row, calmP99Ms: null };
    const beside = [rows[at - 1], rows[at + 1]].flatMap((calm) => (calm === undefined ? [] : (honestIn.get(calm.part) ?? [])));
    return { ...row, calmP99Ms: timesOf(beside).p99Ms };
  });
}

function checksOfRow(row: Row, calm: Row | undefined): Check[] {
  const { part, calmP99Ms } = row;
  const checks = [
    atLeast(`whole answers, ${part}`, row.requests - row.failed - row.storageFull, 1),
    atMost(`honest requests that failed, ${part}`, row.failed, 0),
    atMost(`health pages without 200, ${part}`, row.health.notOk, 0),
    atMost(`slowest health page, ${part}, ms`, row.health.worstMs, MOST_HEALTH_MS),
    atMost(`peak RSS of the edge, ${part}, MiB`, row.peakEdgeMib, MOST_EDGE_MIB),
    atMost(`RSS of the replicas, ${part}, MiB`, row.replicasMib, round((calm?.replicasMib ?? 0) * GROWTH + GROWTH_MIB)),
  ];
  if (part === "full disk") checks.push(atLeast(`stored responses refused, ${part}`, row.storageFull, 1));
  else checks.push(atMost(`stored responses refused, ${part}`, row.storageFull, 0));
  if (calmP99Ms !== null) checks.push(atMost(`honest p99 over the calm parts', ${part}`, round(row.p99Ms / calmP99Ms, 2), MOST_RATIO));
  const internal = Object.values(row.attacks).reduce((sum, came) => sum + (came["500"] ?? 0), 0);
  checks.push(atMost(`attacks answered with 500, ${part}`, internal, 0));
  return checks;
}

export function checksOf(rows: readonly Row[], { base, last, rest, processes, healMs }: Ended): Check[] {
  return [
    ...rows.flatMap((row) => checksOfRow(row, rows[0])),
    atMost("until responses are stored again once there is room, ms", round(healMs), HEAL_MS),
    atMost("leases at the end", rest.leases, 0),
    atMost("requests in line at the end", rest.line, 0),
    atMost("requests that replicas run at the end", rest.running, 0),
    atMost("replicas missing at the end", rest.missing, 0),
    atMost("descriptors of the edge at the end", last.descriptors, base.descriptors + SPARE_DESCRIPTORS),
    atMost("sockets of the edge at the end", last.sockets, base.sockets + SPARE_DESCRIPTORS),
    atMost("processes left", processes, 0),
  ];
}
