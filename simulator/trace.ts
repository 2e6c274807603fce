/** Traces in Mooncake's format: one JSON object a line, {timestamp: ms, input_length, output_length, hash_ids: [one per 512 tokens, prefix-cumulative]}. */
import { drawHash, streamOf } from "./chance.ts";
import { type Plan, type PlannedRequest, TreeBuilder } from "./plan.ts";

/** What a file must be, with a line that is right. */
export const TRACE_FORMAT = `Wanted is Mooncake's format: JSON lines, one request each, by rising timestamp in ms, with a hash id for every 512 tokens of its prompt, as
{"timestamp": 0, "input_length": 1100, "output_length": 20, "hash_ids": [0, 1, 2]}`;

/** Tokens of one hash id; the last one of a request may cover fewer. */
const TRACE_BLOCK_TOKENS = 512;
const MAX_REQUESTS = 1_000_000;

type TraceOutcome = { kind: "plan"; plan: Plan } | { kind: "invalid"; line: number; reason: string };

interface Row {
  timestamp: number;
  inputTokens: number;
  outputTokens: number;
  hashIds: number[];
}

/**
 * Text of a trace → a plan of open arrivals, times as in the trace (ms).
 *
 * @param most requests taken from the front; all when there are fewer.
 */
export function parseTrace(text: string, name: string, most = MAX_REQUESTS): TraceOutcome {
  const other = otherFormat(text);
  if (other !== null) return { kind: "invalid", line: other.line, reason: other.reason };
  const tree = new TreeBuilder();
  /** By hash id and parent: an id is prefix-cumulative, but a file may break that, and then it is another segment. */
  const numbers = new Map<string, number>();
  const draw = streamOf(512, 0);
  const requests: PlannedRequest[] = [];
  let line = 0;
  let last = 0;
  for (const text1 of linesOf(text)) {
    line++;
    if (text1.trim() === "") continue;
    if (requests.length >= most) break;
    const row = rowOf(text1);
    if (typeof row === "string") return { kind: "invalid", line, reason: row };
    if (row.timestamp < last) return { kind: "invalid", line, reason: `timestamp ${row.timestamp} is before the line above's ${last}` };
    last = row.timestamp;
    const path = new Int32Array(row.hashIds.length);
    let parent = -1;
    for (const [at, id] of row.hashIds.entries()) {
      const tokens = Math.min(TRACE_BLOCK_TOKENS, row.inputTokens - at * TRACE_BLOCK_TOKENS);
      const key = `${id} ${parent} ${tokens}`;
      let segment = numbers.get(key);
      if (segment === undefined) {
        segment = tree.add(parent, drawHash(draw), tokens);
        numbers.set(key, segment);
      }
      path[at] = segment;
      parent = segment;
    }
    requests.push(requestOf(requests.length, row, path, tree));
  }
  if (requests.length === 0) return { kind: "invalid", line: 1, reason: "there is no request in it" };
  return { kind: "plan", plan: { name, tree: tree.build(), requests } };
}

function requestOf(id: number, row: Row, path: Int32Array, tree: TreeBuilder): PlannedRequest {
  const chain = BigUint64Array.from(path, (segment) => tree.hashOf(segment));
  const { timestamp: at, inputTokens: promptTokens, outputTokens } = row;
  return { id, session: null, at, after: [], gapMs: 0, promptTokens, outputTokens, path, promptSegments: path.length, chain };
}

/** Enough of a file to know what it is. */
const HEAD_CHARACTERS = 65_536;
const NO_PREFIXES = "which does not say what prompts have in common";

/** What the file is, where that is another format that traces come in; and its first line that says something. */
function otherFormat(text: string): { line: number; reason: string } | null {
  const head = text.slice(startOf(text), HEAD_CHARACTERS);
  const blank = /^\s*/.exec(head)?.[0] ?? "";
  const line = blank.split("\n").length;
  const said = head.slice(blank.length);
  const [first = ""] = said.split("\n", 1);
  if (/^"?timestamp"?\s*,\s*"?contexttokens"?/i.test(first)) return { line, reason: `it is Azure's CSV of LLM inference, ${NO_PREFIXES}` };
  if (/^"?timestamp"?\s*,.*"?(?:request|response) tokens"?/i.test(first)) return { line, reason: `it is BurstGPT's CSV, ${NO_PREFIXES}` };
  if (/^[{[]/.test(said) && /"conversations"\s*:/.test(said))
    return { line, reason: "it is ShareGPT's JSON: conversations, not requests at their times" };
  if (said.startsWith("[")) return { line, reason: "it is a JSON array, not one object a line (`jq -c '.[]' FILE` makes lines of it)" };
  return null;
}

/** Behind a byte order mark. */
function startOf(text: string): number {
  return text.startsWith("\ufeff") ? 1 : 0;
}

function* linesOf(text: string): Generator<string> {
  let start = startOf(text);
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    yield end === -1 ? text.slice(start) : text.slice(start, end);
    if (end === -1) return;
    start = end + 1;
  }
}

/** A sentence says what is wrong with it. */
function rowOf(line: string): Row | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "it is not JSON";
  }
  if (typeof value !== "object" || value === null) return "it is not an object";
  const { timestamp, input_length, output_length, hash_ids }: Record<string, unknown> = { ...value };
  if (typeof timestamp !== "number" || !(timestamp >= 0)) return "timestamp is not a number of ms from 0";
  if (!isCount(input_length) || input_length < 1) return "input_length is not a whole number from 1";
  if (!isCount(output_length)) return "output_length is not a whole number from 0";
  if (!Array.isArray(hash_ids)) return "hash_ids is not an array";
  const hashIds: number[] = [];
  for (const id of hash_ids) {
    if (!isCount(id)) return "hash_ids has something that is not a whole number from 0";
    hashIds.push(id);
  }
  const blocks = Math.ceil(input_length / TRACE_BLOCK_TOKENS);
  if (hashIds.length !== blocks)
    return `${input_length} tokens are ${blocks} blocks of ${TRACE_BLOCK_TOKENS}, but hash_ids has ${hashIds.length}`;
  return { timestamp, inputTokens: input_length, outputTokens: Math.max(1, output_length), hashIds };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}
