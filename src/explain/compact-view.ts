/**
 * A packed view in fewer bytes, for memory and storage: column by column, each in the narrowest form that has its numbers exactly
 * (-0 becomes 0, which decides the same). 64 candidates are about 6 KB instead of 14. `deflate` makes no less of them and takes more
 * than ten times as long (docs/decisions/0011-decision-log.md).
 */
import type { PackedView } from "./packed-view.ts";

export interface CompactView {
  names: readonly string[];
  columns: number;
  meanOutputTokens: number;
  remotePrefillTokens: number | null;
  /** One byte of flags per candidate; then, for each column, one byte that names its form, and its numbers, little-endian. */
  bytes: Uint8Array<ArrayBuffer>;
}

/** One number for all candidates. */
const SAME = 0;
/** Unsigned integers of so many bytes. */
const BYTE = 1;
const SHORT = 2;
const LONG = 4;
const DOUBLE = 8;

const ELIGIBLE = 1;
const PREFILLS = 2;
const TRANSFERS = 4;
const DECODE_ONLY = 8;

export function compactView(view: PackedView): CompactView {
  const { names, numbers, meanOutputTokens, remotePrefillTokens } = view;
  const rows = names.length;
  const columns = rows === 0 ? 0 : numbers.length / rows;
  const forms = new Uint8Array(columns);
  let size = rows + columns;
  for (let column = 0; column < columns; column++) {
    const form = formOf(numbers, column, columns);
    forms[column] = form;
    size += form === SAME ? DOUBLE : form * rows;
  }
  const bytes = new Uint8Array(size);
  for (let row = 0; row < rows; row++) bytes[row] = flagsOf(view, row);
  const into = new DataView(bytes.buffer);
  let at = rows;
  for (let column = 0; column < columns; column++) {
    const form = forms[column] ?? SAME;
    bytes[at++] = form;
    if (form === SAME) {
      into.setFloat64(at, numbers[column] ?? 0, true);
      at += DOUBLE;
      continue;
    }
    for (let from = column; from < numbers.length; from += columns, at += form) {
      const number = numbers[from] ?? 0;
      if (form === BYTE) bytes[at] = number;
      else if (form === SHORT) into.setUint16(at, number, true);
      else if (form === LONG) into.setUint32(at, number, true);
      else into.setFloat64(at, number, true);
    }
  }
  return { names, columns, meanOutputTokens, remotePrefillTokens, bytes };
}

/** Of what `compactView` made. */
export function expandView({ names, columns, meanOutputTokens, remotePrefillTokens, bytes }: CompactView): PackedView {
  const rows = names.length;
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numbers = new Float64Array(rows * columns);
  let at = rows;
  for (let column = 0; column < columns; column++) {
    const form = bytes[at++] ?? SAME;
    const same = form === SAME ? from.getFloat64(at, true) : 0;
    for (let to = column; to < numbers.length; to += columns, at += form) {
      if (form === SAME) numbers[to] = same;
      else if (form === BYTE) numbers[to] = bytes[at] ?? 0;
      else if (form === SHORT) numbers[to] = from.getUint16(at, true);
      else if (form === LONG) numbers[to] = from.getUint32(at, true);
      else numbers[to] = from.getFloat64(at, true);
    }
    if (form === SAME) at += DOUBLE;
  }
  const has = (flag: number): boolean[] => names.map((_name, row) => ((bytes[row] ?? 0) & flag) !== 0);
  const flags = { eligible: has(ELIGIBLE), prefills: has(PREFILLS), transfers: has(TRANSFERS), decodeOnly: has(DECODE_ONLY) };
  return { names, ...flags, numbers, columns, meanOutputTokens, remotePrefillTokens };
}

function flagsOf({ eligible, prefills, transfers, decodeOnly }: PackedView, row: number): number {
  return (
    (eligible[row] === true ? ELIGIBLE : 0) |
    (prefills[row] === true ? PREFILLS : 0) |
    (transfers[row] === true ? TRANSFERS : 0) |
    (decodeOnly[row] === true ? DECODE_ONLY : 0)
  );
}

function formOf(numbers: Float64Array, column: number, columns: number): number {
  const first = numbers[column] ?? 0;
  let [same, whole, most] = [true, true, 0];
  for (let from = column; from < numbers.length; from += columns) {
    const number = numbers[from] ?? 0;
    if (number !== first) same = false;
    if (number !== number >>> 0) whole = false;
    else if (number > most) most = number;
    if (!same && !whole) return DOUBLE;
  }
  if (same) return SAME;
  if (!whole) return DOUBLE;
  return most <= 0xff ? BYTE : most <= 0xffff ? SHORT : LONG;
}
