/** What is certainly wrong in a body, by place: `messages[*].role` with each of these values is refused, and the error names that place. */
import type { Json } from "./random.ts";

/** The field is taken out. */
export const MISSING = Symbol("missing");
/** JSON that nests 20,000 deep, put in as text: nothing here could write it. */
export const DEEP = "@@deep@@";

export interface Rule {
  /** `[*]` is any item. */
  at: string;
  bad: readonly unknown[];
  /** Only where this holds of what has the field. */
  when: (holder: Json, body: Json) => boolean;
  /** Behind `at` in the error's param. */
  below: string;
}

type Condition = Rule["when"];

export const rule = (at: string, bad: readonly unknown[], when: Condition = () => true, below = ""): Rule => ({ at, bad, when, below });

export const is =
  (field: string, value: unknown): Condition =>
  (holder) =>
    holder[field] === value;
const not =
  (field: string, value: unknown): Condition =>
  (holder) =>
    holder[field] !== value;

const NO_TEXT: readonly unknown[] = [5, true, [], {}, ["x"]];
/** For a text that must be there. */
const NO_NEEDED_TEXT: readonly unknown[] = [...NO_TEXT, null, MISSING];
const NO_FLAG: readonly unknown[] = ["yes", 1, 0, [], {}];
const NO_COUNT: readonly unknown[] = [0, -1, 1.5, 1e300, "5", true, [], {}];
const NO_NUMBER: readonly unknown[] = ["hot", true, [], {}];
const NO_OBJECT: readonly unknown[] = ["x", 5, true, []];
const NO_NEEDED_OBJECT: readonly unknown[] = [...NO_OBJECT, null, MISSING];
const NO_ITEM: readonly unknown[] = ["x", 5, null, [], true];
const NO_ARRAY: readonly unknown[] = ["x", 5, {}, true];
const NO_NEEDED_ARRAY: readonly unknown[] = [...NO_ARRAY, null, MISSING, []];

const hasTools: Condition = (_, body) => Array.isArray(body["tools"]) && body["tools"].length > 0;
const noTools: Condition = (_, body) => body["tools"] === undefined;

const model = [rule("model", NO_NEEDED_TEXT), rule("model", ["", "gpt-9", "__proto__", "\ud800"])];
const topP = rule("top_p", [...NO_NUMBER, -0.5, 1.1]);
const temperature = rule("temperature", [...NO_NUMBER, -0.1, 2.1]);

const OPENAI_SAMPLING: readonly Rule[] = [
  ...model,
  topP,
  temperature,
  rule("stream", NO_FLAG),
  rule("stream_options", NO_OBJECT),
  rule("stream_options.include_usage", NO_FLAG),
  rule("max_tokens", NO_COUNT),
  rule("seed", [...NO_NUMBER, 1.5, 1e20]),
  rule("presence_penalty", [...NO_NUMBER, -2.1, 2.1]),
  rule("frequency_penalty", [...NO_NUMBER, -3, 3]),
  rule("stop", [5, true, {}, "", ["a", "b", "c", "d", "e"], [5], [null]]),
  rule("stop", [[""]], undefined, "[0]"),
  rule("n", [0, -1, 9, 1.5, "2", [], {}]),
  rule("logit_bias", NO_OBJECT),
  rule("logit_bias", [{ a: 1 }], undefined, ".a"),
  rule("logit_bias", [{ "5": 101 }, { "5": "x" }, { "5": null }], undefined, ".5"),
];

/** Tools as chat and responses have them; `fn` is where name and the like are. */
const functionRules = (fn: string, when: Condition, schemaField: string): Rule[] => [
  rule(`${fn}.name`, [...NO_NEEDED_TEXT, ""], when),
  rule(`${fn}.description`, NO_TEXT, when),
  rule(`${fn}.${schemaField}`, schemaField === "parameters" ? NO_OBJECT : NO_NEEDED_OBJECT, when),
  rule(`${fn}.strict`, NO_FLAG, when),
];

const formatRules = (holder: string, fields: string, deeper: boolean): Rule[] => {
  const schemaWanted = deeper ? is("type", undefined) : is("type", "json_schema");
  return [
    rule(holder, NO_OBJECT),
    rule(`${holder}.type`, [MISSING, null, 5, "xml", []]),
    rule(`${fields}.name`, [...NO_NEEDED_TEXT, "a b", ""], schemaWanted),
    rule(`${fields}.schema`, NO_OBJECT, schemaWanted),
    rule(`${fields}.strict`, NO_FLAG, schemaWanted),
  ];
};

const CALL = "messages[*].tool_calls[*]";
const PART = "messages[*].content[*]";

export const CHAT: readonly Rule[] = [
  ...OPENAI_SAMPLING,
  rule("messages", NO_NEEDED_ARRAY),
  rule("messages[*]", NO_ITEM),
  rule("messages[*].role", [...NO_NEEDED_TEXT, "robot", "function", "__proto__", "User"]),
  rule("messages[*].content", [5, true, {}, []]),
  rule("messages[*].content", [MISSING, null], is("tool_calls", undefined)),
  rule("messages[*].name", NO_TEXT),
  rule("messages[*].function_call", ["x", {}, 5]),
  rule("messages[*].tool_call_id", NO_NEEDED_TEXT, is("role", "tool")),
  rule("messages[*].tool_calls", [...NO_ARRAY, []], is("role", "assistant")),
  rule("messages[*].tool_calls", [[{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }]], not("role", "assistant")),
  rule(CALL, NO_ITEM),
  rule(`${CALL}.type`, ["custom", 5, null]),
  rule(`${CALL}.id`, NO_NEEDED_TEXT),
  rule(`${CALL}.function`, NO_NEEDED_OBJECT),
  rule(`${CALL}.function.name`, NO_NEEDED_TEXT),
  rule(`${CALL}.function.arguments`, NO_NEEDED_TEXT),
  rule(PART, [...NO_ITEM, { type: "image_url", image_url: { url: "data:," } }, { type: "file", file: {} }]),
  rule(PART, [{ type: "image_url" }, { type: "image_url", image_url: "x" }], undefined, ".image_url"),
  rule(`${PART}.type`, [...NO_NEEDED_TEXT, "smell"]),
  rule(`${PART}.text`, NO_NEEDED_TEXT, is("type", "text")),
  rule(`${PART}.refusal`, NO_NEEDED_TEXT, is("type", "refusal")),
  rule("tools", NO_ARRAY),
  rule("tools[*]", NO_ITEM),
  rule("tools[*].type", [...NO_NEEDED_TEXT, "retrieval"]),
  rule("tools[*].function", NO_NEEDED_OBJECT),
  ...functionRules("tools[*].function", () => true, "parameters"),
  rule("tool_choice", [...NO_ARRAY.slice(0, 3), "always", []]),
  rule("tool_choice", ["required"], noTools),
  rule("tool_choice", [{ type: "custom" }], undefined, ".type"),
  rule("tool_choice", [{ type: "function" }, { type: "function", function: { name: "nope" } }], undefined, ".function.name"),
  rule("tool_choice", [{ type: "allowed_tools" }], undefined, ".allowed_tools"),
  rule("tool_choice", [{ type: "allowed_tools", allowed_tools: { mode: "x" } }], undefined, ".allowed_tools.mode"),
  ...formatRules("response_format", "response_format.json_schema", true),
  rule("response_format", [{ type: "json_schema" }], undefined, ".json_schema"),
  rule("max_completion_tokens", NO_COUNT),
  rule("logprobs", NO_FLAG),
  rule("top_logprobs", [...NO_NUMBER, -1, 21, 1.5]),
  rule("top_logprobs", [3], (holder) => holder["logprobs"] !== true),
  rule("parallel_tool_calls", NO_FLAG),
  rule("reasoning_effort", ["huge", 5, [], ""]),
  rule("modalities", NO_ARRAY),
  rule("modalities", [["audio"], [5]], undefined, "[0]"),
  rule("audio", [{}, "x"]),
  rule("web_search_options", [{}, true]),
  rule("functions", [[], {}]),
  rule("function_call", ["auto", {}]),
];

export const COMPLETIONS: readonly Rule[] = [
  ...OPENAI_SAMPLING,
  rule("prompt", [...NO_NEEDED_ARRAY.filter((bad) => bad !== "x"), ""]),
  rule("prompt", [[null], [{}], [""], [-1], [1.5], ["", "a"], [null, "a"]], undefined, "[0]"),
  rule(
    "prompt",
    [
      ["a", ""],
      ["a", 5],
      [5, "a"],
      [[1, 2], []],
    ],
    undefined,
    "[1]",
  ),
  rule("echo", NO_FLAG),
  rule("echo", [true], (holder) => typeof holder["logprobs"] === "number"),
  rule("logprobs", [...NO_NUMBER, -1, 6, 1.5]),
  rule("best_of", [0, 1.5, "2", 7]),
  rule("suffix", ["x", 5, {}]),
];

const isMessage: Condition = (item) => item["type"] === undefined || item["type"] === "message";
const isCall = is("type", "function_call");
const isFunction = is("type", "function");
const INPUT_PART = "input[*].content[*]";
const ITEM_FIELDS: readonly Rule[] = [
  rule("input[*].role", [...NO_NEEDED_TEXT, "tool", "robot"], isMessage),
  rule("input[*].content", [5, true, {}, [], null, MISSING], isMessage),
  rule("input[*].type", [5, [], {}, "item_reference", "smell"]),
  rule("input[*].call_id", NO_NEEDED_TEXT, isCall),
  rule("input[*].name", NO_NEEDED_TEXT, isCall),
  rule("input[*].arguments", NO_NEEDED_TEXT, isCall),
  rule("input[*].namespace", NO_TEXT, isCall),
  rule("input[*].call_id", NO_NEEDED_TEXT, is("type", "function_call_output")),
  rule("input[*].output", [5, true, {}, null, MISSING], is("type", "function_call_output")),
  rule(INPUT_PART, [...NO_ITEM, { type: "input_image", image_url: "data:," }, { type: "input_file" }]),
  rule(`${INPUT_PART}.type`, [...NO_NEEDED_TEXT, "smell"]),
  rule(`${INPUT_PART}.text`, NO_NEEDED_TEXT, not("type", "refusal")),
  rule(`${INPUT_PART}.refusal`, NO_NEEDED_TEXT, is("type", "refusal")),
];

export const RESPONSES: readonly Rule[] = [
  ...model,
  topP,
  temperature,
  rule(
    "input",
    NO_NEEDED_ARRAY.filter((bad) => bad !== "x"),
  ),
  rule("input[*]", NO_ITEM),
  ...ITEM_FIELDS,
  rule("instructions", NO_TEXT),
  rule("previous_response_id", [...NO_TEXT, "", "resp_nope", "resp_default_0123456789abcdef"]),
  rule("conversation", ["conv_1", {}]),
  rule("prompt", [{ id: "pmpt_1" }, "x"]),
  rule("background", [true, "no", 1]),
  rule("store", NO_FLAG),
  rule("stream", NO_FLAG),
  rule("max_output_tokens", NO_COUNT),
  rule("max_tool_calls", NO_COUNT),
  rule("top_logprobs", [...NO_NUMBER, -1, 21, 1.5]),
  rule("parallel_tool_calls", NO_FLAG),
  rule("reasoning", NO_OBJECT),
  rule("reasoning.effort", ["huge", 5, []]),
  rule("include", NO_ARRAY),
  rule("include", [[5], [null]], undefined, "[0]"),
  rule("truncation", ["auto", "always", 5, []]),
  rule("metadata", NO_OBJECT),
  rule("metadata", [Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, "v"]))]),
  rule("metadata", [{ a: 5 }, { a: null }], undefined, ".a"),
  rule("tools", NO_ARRAY),
  rule("tools[*]", NO_ITEM),
  rule("tools[*].type", NO_NEEDED_TEXT),
  ...functionRules("tools[*]", isFunction, "parameters"),
  rule("tools[*].name", NO_NEEDED_TEXT, is("type", "namespace")),
  rule("tools[*].tools", NO_ARRAY, is("type", "namespace")),
  rule("tools[*].tools[*]", NO_ITEM),
  ...functionRules("tools[*].tools[*]", isFunction, "parameters"),
  rule("tool_choice", [...NO_ARRAY.slice(0, 3), "always", []]),
  rule("tool_choice", ["required"], noTools),
  rule("tool_choice", [{ type: "web_search" }], undefined, ".type"),
  rule("tool_choice", [{ type: "function" }, { type: "function", name: "nope" }], undefined, ".name"),
  rule("text", NO_OBJECT),
  ...formatRules("text.format", "text.format", false),
];

const isResult = is("type", "tool_result");
const isUse = is("type", "tool_use");
const isText = is("type", "text");
const BLOCK = "messages[*].content[*]";

export const COUNT_TOKENS: readonly Rule[] = [
  ...model,
  rule("mcp_servers", ["x", 5, {}, [{ type: "url", name: "s", url: "https://a.test" }]]),
  rule("container", ["container_1", {}, 5]),
  rule("messages", NO_NEEDED_ARRAY),
  rule("messages[*]", NO_ITEM),
  rule("messages[*].role", [...NO_NEEDED_TEXT, "tool", "developer"]),
  rule("messages[*].content", [5, true, {}, null, MISSING]),
  rule("messages[*].content", [[]], is("role", "user")),
  rule(BLOCK, NO_ITEM),
  rule(`${BLOCK}.type`, [...NO_NEEDED_TEXT, "smell"]),
  rule(`${BLOCK}.text`, NO_NEEDED_TEXT, isText),
  rule(`${BLOCK}.tool_use_id`, NO_NEEDED_TEXT, isResult),
  rule(`${BLOCK}.content`, [5, true, {}], isResult),
  rule(`${BLOCK}.id`, NO_NEEDED_TEXT, isUse),
  rule(`${BLOCK}.name`, NO_NEEDED_TEXT, isUse),
  rule(`${BLOCK}.input`, NO_NEEDED_OBJECT, isUse),
  rule("system", [5, true, {}]),
  rule("system[*]", NO_ITEM),
  rule("system[*].type", [...NO_NEEDED_TEXT, "image"]),
  rule("system[*].text", NO_NEEDED_TEXT),
  rule("tools", NO_ARRAY),
  rule("tools[*]", NO_ITEM),
  rule("tools[*].type", NO_TEXT),
  ...functionRules("tools[*]", (tool) => (tool["type"] ?? "custom") === "custom", "input_schema"),
  rule("tool_choice", [...NO_OBJECT, "auto"]),
  rule("tool_choice", [{ type: "any" }], noTools),
  rule("tool_choice", [{}, { type: 5 }, { type: "required" }], undefined, ".type"),
  rule("tool_choice", [{ type: "tool" }, { type: "tool", name: "nope" }], undefined, ".name"),
  rule("tool_choice.disable_parallel_tool_use", NO_FLAG, hasTools),
  rule("thinking", NO_OBJECT),
  rule("thinking.type", [MISSING, null, 5, "maybe"]),
  rule("thinking.budget_tokens", [...NO_NUMBER, 1_023, 1.5]),
  rule("output_config", NO_OBJECT),
  rule("output_config.effort", ["huge", 5, []]),
  rule("output_config.format", NO_OBJECT),
  rule("output_config.format.type", [MISSING, null, "text", 5]),
  rule("output_config.format.schema", NO_NEEDED_OBJECT),
];

export const MESSAGES: readonly Rule[] = [
  ...COUNT_TOKENS,
  topP,
  rule("max_tokens", [...NO_COUNT, null, MISSING]),
  rule("temperature", [...NO_NUMBER, -0.1, 1.1]),
  rule("stream", NO_FLAG),
  rule("stop_sequences", NO_ARRAY),
  rule("stop_sequences", [[5], [""], [null]], undefined, "[0]"),
  rule("stop_sequences", [Array.from({ length: 17 }, String)]),
];
