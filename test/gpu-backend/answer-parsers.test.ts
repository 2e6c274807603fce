import { expect, test } from "vitest";
import { ReasoningParser } from "../../gpu-backend/reasoning-parser.ts";
import { type CallsIn, type Parsed, ToolCallParser } from "../../gpu-backend/tool-call-parser.ts";

/** The text cut in two at every place, in three at some, and into single characters. */
function* splits(text: string): Generator<string[]> {
  yield text.split("");
  for (let at = 0; at <= text.length; at += 1) {
    yield [text.slice(0, at), text.slice(at)];
    const second = at + 1 + (at % 7);
    yield [text.slice(0, at), text.slice(at, second), text.slice(second)];
  }
}

function reason(pieces: readonly string[], open: boolean): { reasoning: string; text: string } {
  const parser = new ReasoningParser({ open });
  const all = { reasoning: "", text: "" };
  for (const split of [...pieces.map((piece) => parser.push(piece)), parser.end()]) {
    if (split.reasoning !== "" && all.text !== "") throw new Error("reasoning after text");
    all.reasoning += split.reasoning;
    all.text += split.text;
  }
  return all;
}

test.each([
  ["<think>\nso <it> is\n</think>\n\nYes.", false, "so <it> is", "Yes."],
  [" \n<think>a</think>b", false, "a", "b"],
  ["so</think>Yes", true, "so", "Yes"],
  ["<think>\n\n</think>\n\nYes </think>", false, "", "Yes </think>"],
  ["<think>never ends </thin", false, "never ends </thin", ""],
  ["No <think>here</think>", false, "", "No <think>here</think>"],
  ["<thin air", false, "", "<thin air"],
  [" <th", false, "", " <th"],
  ["", false, "", ""],
])("reasoning in %j, open: %s", (whole, open, reasoning, text) => {
  for (const pieces of splits(whole)) expect(reason(pieces, open)).toEqual({ reasoning, text });
});

/** Neighbours of one type as one. */
function calls(pieces: readonly string[], where?: CallsIn, cut = false): Parsed[] {
  const parser = new ToolCallParser(["find", "list"], where);
  const all: Parsed[] = [];
  for (const one of [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end(cut)]) {
    const last = all.at(-1);
    if (last?.type === "text" && one.type === "text") last.text += one.text;
    else if (last?.type === "arguments" && one.type === "arguments") last.text += one.text;
    else all.push({ ...one });
  }
  return all;
}

const text = (words: string): Parsed => ({ type: "text", text: words });
const call = (name: string, body: string): Parsed[] => [
  { type: "call", name },
  { type: "arguments", text: body },
];
const FIND = '<tool_call>{"name": "find", "arguments": {"q": "}</tool_call>\\"{", "n": [1, {}]}}</tool_call>';
const FIND_CALL = call("find", '{"q": "}</tool_call>\\"{", "n": [1, {}]}');

test.each<[string, string, Parsed[]]>([
  ["a call", FIND, FIND_CALL],
  ["text around", `Let me see. \n${FIND}\n\nDone.`, [text("Let me see."), ...FIND_CALL, text("Done.")]],
  ["two calls", `${FIND}\n<tool_call>\n{"name":"list","arguments":{}}\n</tool_call>\n`, [...FIND_CALL, ...call("list", "{}")]],
  ["the other order", '<tool_call>{"arguments": {"a": 1}, "name": "find"}</tool_call>', call("find", '{"a":1}')],
  ["arguments as a string", '<tool_call>{"name": "find", "arguments": "{\\"a\\": 1}"}</tool_call>', call("find", '{"a":1}')],
  ["no arguments", '<tool_call>{"name": "list"}</tool_call>', call("list", "{}")],
  [
    "an unknown tool",
    'a <tool_call>{"name": "rm", "arguments": {}}</tool_call>',
    [text('a <tool_call>{"name": "rm", "arguments": {}}</tool_call>')],
  ],
  ["no JSON", " <tool_call>find it</tool_call> ", [text(" <tool_call>find it</tool_call> ")]],
  ["wrong JSON", "<tool_call>{find}</tool_call>", [text("<tool_call>{find}</tool_call>")]],
  [
    "a list of arguments",
    '<tool_call>{"name": "list", "arguments": [1]}</tool_call>',
    [text('<tool_call>{"name": "list", "arguments": [1]}</tool_call>')],
  ],
  ["no call, then one", `<tool_call>x ${FIND}`, [text("<tool_call>x"), ...FIND_CALL]],
  ["cut before the name ends", 'a <tool_call>{"name": "fi', [text('a <tool_call>{"name": "fi')]],
  ["cut in the arguments", '<tool_call>{"name": "find", "arguments": {"q": "a', call("find", '{"q": "a')],
  ["cut before the closing tag", '<tool_call>{"name": "list", "arguments": {}}\n', call("list", "{}")],
  ["cut, the other order", '<tool_call>{"arguments": {}, "name": "list"}', call("list", "{}")],
  ["no tags", "a < b <tool \n", [text("a < b <tool \n")]],
])("%s", (_, whole, wanted) => {
  for (const pieces of splits(whole)) expect(calls(pieces)).toEqual(wanted);
});

test.each<[string, CallsIn, Parsed[]]>([
  // Cut at every place a limit may cut, marks are never text.
  ["", "forced", []],
  ["<tool", "forced", []],
  ["<tool_call>", "forced", []],
  ['<tool_call>{"name":"fi', "forced", []],
  ['<tool_call>{"name":"find","arguments":', "forced", []],
  ['<tool_call>{"name":"find","arguments":{"q":"<tool_call>', "forced", call("find", '{"q":"<tool_call>')],
  [FIND, "forced", FIND_CALL],
  [`${FIND}\n<tool_ca`, "forced", FIND_CALL],
  [`${FIND}\n${FIND.slice(0, 30)}`, "forced", FIND_CALL],
  ["<tool_call", "either", []],
  ['<tool_call>{"name":', "either", []],
  [FIND, "either", FIND_CALL],
  ['{"a":"<tool_call>{\\"name\\":\\"find\\"}</tool_call>"}', "either", [text('{"a":"<tool_call>{\\"name\\":\\"find\\"}</tool_call>"}')]],
  [`[1,"${"<tool_call>"}`, "either", [text('[1,"<tool_call>')]],
  ['a <tool_call>{"name": "fi', "free", [text("a")]],
  ["a <tool", "free", [text("a <tool")]],
])("an answer cut behind %j, calls %s", (whole, where, wanted) => {
  for (const pieces of splits(whole)) expect(calls(pieces, where, true)).toEqual(wanted);
});

test("arguments come as they are written", () => {
  const parser = new ToolCallParser(["find"]);
  const pieces = ['<tool_call>{"name": "find",', ' "arguments": {"q"', ': "a', 'b"', "}}</tool", "_call>"];
  expect(pieces.map((piece) => parser.push(piece))).toEqual([
    [],
    [
      { type: "call", name: "find" },
      { type: "arguments", text: '{"q"' },
    ],
    [{ type: "arguments", text: ': "a' }],
    [{ type: "arguments", text: 'b"' }],
    [{ type: "arguments", text: "}" }],
    [],
  ]);
});
