/** Logged decisions as text: read from what the edge lists or from one a line, written one a line. */
import { appendFileSync } from "node:fs";
import { z } from "zod";
import { NOTHING } from "../src/decision/cost.ts";
import { PICKS } from "../src/decision/profiles.ts";
import { decodeRecord, type EncodedRecord, encodeRecord, type ExplainRecord } from "../src/explain/record.ts";

const LINES_AT_ONCE = 500;

const View = z
  .looseObject({
    names: z.array(z.string()).max(64),
    eligible: z.array(z.boolean()),
    prefills: z.array(z.boolean()),
    transfers: z.array(z.boolean()),
    decodeOnly: z.array(z.boolean()),
    numbers: z.array(z.number()).max(64 * 64),
    columns: z.int().min(1).max(64),
    meanOutputTokens: z.number(),
  })
  .refine(({ names, numbers, columns }) => numbers.length === names.length * columns, "its numbers are not a row for each name");

/** All of them: one that is missing would make no number of the cost. */
const Weights = z.looseObject(Object.fromEntries(Object.keys(NOTHING).map((term) => [term, z.number()])));

const tokens = z.number().nonnegative().nullable();

/** What a decision is decided from and what came of it; the rest of a record is read as it is. */
const Row = z.looseObject({
  id: z.string(),
  attempt: z.int(),
  tenant: z.string().default(""),
  decidedAtMs: z.number(),
  view: View,
  request: z.looseObject({ promptTokens: z.number(), promptBytes: z.number(), excluded: z.array(z.int()) }),
  profile: z.looseObject({ name: z.string(), pick: z.enum(PICKS), weights: Weights }),
  draw: z.number().min(0).lt(1),
  turn: z.int().nonnegative(),
  seenTokens: z.number().nonnegative().optional(),
  waitedMs: z.number().nonnegative().optional(),
  decision: z.looseObject({
    chosen: z.int().nullable(),
    transfer: z.looseObject({ kind: z.enum(["prefill", "pull"]), replica: z.int() }).nullish(),
  }),
  outcome: z.looseObject({ ttftMs: tokens, promptTokens: tokens, cachedTokens: tokens, outputTokens: tokens }),
});

type ParsedLog = { kind: "records"; records: ExplainRecord[] } | { kind: "invalid"; reason: string };

/** Text of a log → its records. `reason` says which line or decision is wrong and how. */
export function parseLog(text: string): ParsedLog {
  const rows = rowsOf(text);
  if (typeof rows === "string") return { kind: "invalid", reason: rows };
  if (rows.length === 0) return { kind: "invalid", reason: "there is no decision in it" };
  const records: ExplainRecord[] = [];
  for (const [at, row] of rows.entries()) {
    const checked = Row.safeParse(row);
    if (!checked.success) {
      const [issue] = checked.error.issues;
      const field = issue?.path.join(".") ?? "";
      return { kind: "invalid", reason: `decision ${at + 1}: ${field === "" ? "" : `${field}: `}${issue?.message ?? "it is no record"}` };
    }
    // What decides was checked; the rest is only shown.
    records.push(decodeRecord(checked.data as unknown as EncodedRecord));
  }
  return { kind: "records", records };
}

/** Or what is wrong with the text. */
function rowsOf(text: string): unknown[] | string {
  const whole = parseJson(text);
  if (whole.ok) {
    const list = z.object({ data: z.array(z.unknown()) }).safeParse(whole.value);
    return list.success ? list.data.data : [whole.value];
  }
  const rows: unknown[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const parsed = parseJson(line);
    if (!parsed.ok) return `line ${at + 1} is not JSON`;
    rows.push(parsed.value);
  }
  return rows;
}

function parseJson(text: string): { ok: true; value: unknown } | { ok: false } {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch {
    return { ok: false };
  }
}

export function lineOf(record: ExplainRecord): string {
  return `${JSON.stringify(encodeRecord(record))}\n`;
}

/** One a line, behind what the file has. */
export function appendLog(file: string, records: readonly ExplainRecord[]): void {
  for (let from = 0; from < records.length; from += LINES_AT_ONCE)
    appendFileSync(
      file,
      records
        .slice(from, from + LINES_AT_ONCE)
        .map(lineOf)
        .join(""),
    );
}
