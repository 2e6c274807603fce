import type { PartBytes } from "./segment-index.ts";
import { PART_BYTES, PART_FULL, Part, tiersOf } from "./part.ts";

const VERSION = 1;

/** {"version":1,"parts":[[id, depth, prefix], …]}: which stored part holds which hashes. */
export function writeDirectory(parts: readonly Part[]): string {
  return JSON.stringify({ version: VERSION, parts: parts.map((part) => [part.id, part.depth, part.prefix]) });
}

/** Parts as they were stored, all clean; null when anything does not fit: a part missing, of another size, too full, or with hashes of another part. */
export function readParts(directory: string, stored: Iterable<PartBytes>, maxParts: number, maxDepth: number): Part[] | null {
  const rows = parseDirectory(directory);
  if (rows === null || rows.length > maxParts || !coversAll(rows, maxDepth)) return null;
  const bytes = new Map<number, Uint8Array>();
  for (const part of stored) bytes.set(part.id, part.data);
  const parts: Part[] = [];
  for (const [id, depth, prefix] of rows) {
    const data = bytes.get(id);
    if (data === undefined || data.byteLength !== PART_BYTES) return null;
    const part = new Part(id, depth, prefix);
    new Uint8Array(part.words.buffer).set(data);
    if (!isSound(part)) return null;
    part.dirty = false;
    parts.push(part);
  }
  return parts;
}

type Row = [id: number, depth: number, prefix: number];

function parseDirectory(directory: string): Row[] | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(directory);
  } catch {
    return null;
  }
  if (typeof parsed !== "object" || parsed === null || !("version" in parsed) || !("parts" in parsed)) return null;
  if (parsed.version !== VERSION || !Array.isArray(parsed.parts)) return null;
  const rows: unknown[] = parsed.parts;
  return rows.every(isRow) ? rows : null;
}

function isRow(row: unknown): row is Row {
  return Array.isArray(row) && row.length === 3 && row.every((value) => Number.isInteger(value) && Number(value) >= 0);
}

/** Every hash has exactly one part: the prefixes, in order, leave no gap and do not lie within each other; ids differ. */
function coversAll(rows: readonly Row[], maxDepth: number): boolean {
  if (new Set(rows.map(([id]) => id)).size !== rows.length || rows.some(([, depth]) => depth > maxDepth)) return false;
  const spans = rows.map(([, depth, prefix]) => ({ from: prefix * 2 ** (maxDepth - depth), length: 2 ** (maxDepth - depth) }));
  spans.sort((left, right) => left.from - right.from);
  let reached = 0;
  for (const { from, length } of spans) {
    if (from !== reached) return false;
    reached += length;
  }
  return reached === 2 ** maxDepth;
}

/** Counts the entries, too. */
function isSound(part: Part): boolean {
  let sound = true;
  part.forEach((_tokens, meta, hi) => {
    part.used++;
    if ((part.depth > 0 && hi >>> (32 - part.depth) !== part.prefix) || tiersOf(meta) === 0) sound = false;
  });
  return sound && part.used <= PART_FULL;
}
