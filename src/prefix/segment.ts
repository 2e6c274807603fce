/**
 * Where a prompt is cut. Segments are small at the front, where prompts part company, and grow with depth, so that a long prompt stays a short chain.
 * Sizes are in bytes of the canonical prompt (prompt.ts), never in tokens: the edge has no tokenizer.
 */

/** Where the pool's chat template puts the tool definitions. */
export type TemplateOrder =
  /** Before everything, the system message too. */
  | "tools-first"
  /** After a leading system message, else before everything. */
  | "system-then-tools"
  /** Just before the content of the last user message. */
  | "tools-in-last-user";

export const TEMPLATE_ORDERS: readonly TemplateOrder[] = ["tools-first", "system-then-tools", "tools-in-last-user"];

interface ScheduleStep {
  /** Segments that start below this offset have this step's size; null = all the rest (JSON has no infinity). */
  untilBytes: number | null;
  segmentBytes: number;
}

/** Rising `untilBytes`, the last one null. */
export type SegmentSchedule = readonly ScheduleStep[];

export const DEFAULT_SCHEDULE: SegmentSchedule = [
  { untilBytes: 4_096, segmentBytes: 256 },
  { untilBytes: 65_536, segmentBytes: 1_024 },
  { untilBytes: null, segmentBytes: 4_096 },
];

/** All that two sides must agree on for their chains to be equal. Plain JSON. */
export interface HashSpec {
  version: 1;
  schedule: SegmentSchedule;
  order: TemplateOrder;
}

/** The versions this build speaks: N and, from version 2 on, N-1. */
export const HASH_SPEC_VERSIONS: readonly number[] = [1];

/** No chain is longer; what lies behind is not hashed. With the default schedule that is past 16 MB. */
export const MAX_SEGMENTS = 4_096;

/**
 * A stable name of the spec, part of every chain's root.
 * @example specFingerprint({version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools"}) // "v1;system-then-tools;256<4096,1024<65536,4096"
 */
export function specFingerprint(spec: HashSpec): string {
  const known = FINGERPRINTS.get(spec);
  if (known !== undefined) return known;
  const fingerprint = fingerprintOf(spec);
  FINGERPRINTS.set(spec, fingerprint);
  return fingerprint;
}

/** Specs do not change, and each is asked for several times a request. */
const FINGERPRINTS = new WeakMap<HashSpec, string>();

function fingerprintOf(spec: HashSpec): string {
  const steps = spec.schedule.map((step) =>
    step.untilBytes === null ? `${step.segmentBytes}` : `${step.segmentBytes}<${step.untilBytes}`,
  );
  return `v${spec.version};${spec.order};${steps.join(",")}`;
}

/** What is wrong with a schedule that came from elsewhere, or null. */
export function scheduleProblem(schedule: SegmentSchedule): string | null {
  if (schedule.length < 1 || schedule.length > 16) return "a segment schedule has 1 to 16 steps";
  let from = 0;
  for (const [index, step] of schedule.entries()) {
    if (!Number.isSafeInteger(step.segmentBytes) || step.segmentBytes < 32)
      return `step ${index}: segmentBytes must be an integer of at least 32`;
    if ((step.untilBytes === null) !== (index === schedule.length - 1)) return "untilBytes is null in the last step and only there";
    if (step.untilBytes === null) continue;
    if (!Number.isSafeInteger(step.untilBytes) || step.untilBytes <= from)
      return `step ${index}: untilBytes must be an integer above ${from}`;
    from = step.untilBytes;
  }
  return null;
}

/** The end offsets of the full segments of `totalBytes` bytes, at most MAX_SEGMENTS. A segment's size is that of the step its start lies in. */
export function* segmentEnds(schedule: SegmentSchedule, totalBytes: number): Generator<number, void, undefined> {
  let end = 0;
  let count = 0;
  for (const step of schedule) {
    const until = step.untilBytes ?? Infinity;
    while (end < until) {
      end += step.segmentBytes;
      if (end > totalBytes || count === MAX_SEGMENTS) return;
      count += 1;
      yield end;
    }
  }
}
