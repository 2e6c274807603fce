/** What completions and responses refuse, and by which path of the caller's own body; what they take beside the prompt. */
import { expect, test } from "vitest";
import { z } from "zod";
import { parseCompletionRequest } from "../../../src/wire/completions.ts";
import type { ParsedRequest } from "../../../src/wire/inner.ts";
import { parseResponsesRequest, previousResponseIdOf } from "../../../src/wire/responses.ts";
import { inputItemsOf } from "../../../src/wire/responses-items.ts";
import { splitToolName } from "../../../src/wire/responses-tools.ts";

z.config({ jitless: true });

const nest = (depth: number): unknown => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);

function refusal(parsed: ParsedRequest, param: string, message: RegExp): void {
  if (parsed.ok) throw new Error("was taken");
  expect(parsed.error).toMatchObject({ code: "invalid_request", status: 400, param });
  expect(parsed.error.message).toMatch(message);
  expect(parsed.error.message).toContain(`\`${param}\``);
}

type Case = [fields: object, param: string, message: RegExp];

const completion = (fields: object): ParsedRequest => parseCompletionRequest({ model: "m", prompt: "p", ...fields });
test.each<Case>([
  [{ model: undefined }, "model", /missing/],
  [{ prompt: undefined }, "prompt", /a string, or an array of strings or tokens, but is missing/],
  [{ prompt: "" }, "prompt", /not be empty/],
  [{ prompt: [] }, "prompt", /an empty array/],
  [{ prompt: [""] }, "prompt[0]", /not be empty/],
  [{ prompt: [{}] }, "prompt[0]", /a string or an array of tokens, but is an object/],
  [{ prompt: [1, "2"] }, "prompt[1]", /a token, as all before it, but is a string/],
  [{ prompt: [[1, -2]] }, "prompt[0][1]", /a token's number/],
  [{ prompt: [1, 2.5] }, "prompt[1]", /a token's number/],
  [{ prompt: [1, 2], echo: true }, "echo", /a prompt of tokens/],
  [{ prompt: [[1], [2]] }, "prompt", /has 2 prompts; send one/],
  [{ prompt: ["a", "b"] }, "prompt", /has 2 prompts; send one/],
  [{ suffix: "s" }, "suffix", /not supported/],
  [{ logprobs: 6 }, "logprobs", /at most 5/],
  [{ logprobs: true }, "logprobs", /an integer from 0 to 5, but is a boolean/],
  [{ echo: "yes" }, "echo", /true or false/],
  [{ echo: true, logprobs: 0 }, "echo", /cannot go with `logprobs`/],
  [{ best_of: 3 }, "best_of", /must equal `n`/],
  [{ n: 9 }, "n", /at most 8/],
  [{ stop: ["a", "b", "c", "d", "e"] }, "stop", /up to 4/],
  [{ max_tokens: 0 }, "max_tokens", /at least 1/],
  [{ logit_bias: { x: 1 } }, "logit_bias.x", /no token id/],
  [{ any: nest(70) }, "any[0][0][0]", /deeper than 64/],
])("completions refuse %#: %s", (fields, param, message) => refusal(completion(fields), param, message));

test("completions: a full one", () => {
  const parsed = completion({
    prompt: ["once"],
    n: 2,
    best_of: 2,
    logprobs: 5,
    stop: "x",
    suffix: null,
    max_tokens: 3,
    user: "u",
    logit_bias: { "1": 5 },
  });
  expect(parsed).toMatchObject({
    ok: true,
    request: {
      api: "completions",
      prompt: { text: "once" },
      n: 2,
      logprobs: 5,
      stop: ["x"],
      maxTokens: 3,
      echo: false,
      session: "u",
      logitBias: new Map([[1, 5]]),
    },
  });
  expect(completion({ echo: true })).toMatchObject({ ok: true, request: { echo: true, logprobs: null, maxTokens: 16 } });
});

const fn = { type: "function", name: "f", parameters: {} };
const response = (fields: object): ParsedRequest => parseResponsesRequest({ model: "m", input: "hi", ...fields }, []);
const inputOf = (item: unknown): object => ({ input: [{ role: "user", content: "hi" }, item] });
const userParts = (part: unknown): object => inputOf({ role: "user", content: [part] });
test.each<Case>([
  [{ model: 5 }, "model", /a string/],
  [{ input: undefined }, "input", /a string or an array of at least one item, but is missing/],
  [{ input: [] }, "input", /an empty array/],
  [{ input: [{ type: "reasoning", summary: [] }] }, "input", /nothing for the model to read/],
  [inputOf("x"), "input[1]", /an object with `type`/],
  [inputOf({ type: 5 }), "input[1].type", /a string/],
  [inputOf({ role: "robot", content: "x" }), "input[1].role", /'robot'; use one of/],
  [inputOf({ type: "message", content: "x" }), "input[1].role", /missing/],
  [inputOf({ role: "user" }), "input[1].content", /missing/],
  [inputOf({ role: "user", content: [] }), "input[1].content", /at least one part/],
  [userParts("x"), "input[1].content[0]", /an object/],
  [userParts({ type: "input_text" }), "input[1].content[0].text", /missing/],
  [userParts({ type: "video" }), "input[1].content[0].type", /'video'/],
  [userParts({ type: "input_image", image_url: "u" }), "input[1].content[0]", /images are not supported/],
  [userParts({ type: "input_file", file_id: "u" }), "input[1].content[0]", /files are not supported/],
  [inputOf({ type: "function_call", name: "f", arguments: "" }), "input[1].call_id", /missing/],
  [inputOf({ type: "function_call", call_id: "c", arguments: "" }), "input[1].name", /missing/],
  [inputOf({ type: "function_call", call_id: "c", name: "f", arguments: {} }), "input[1].arguments", /an object/],
  [inputOf({ type: "function_call_output", output: "x" }), "input[1].call_id", /missing/],
  [inputOf({ type: "function_call_output", call_id: "c" }), "input[1].output", /missing/],
  [
    inputOf({ type: "function_call_output", call_id: "c", output: [{ type: "input_image" }] }),
    "input[1].output[0]",
    /images are not supported/,
  ],
  [inputOf({ type: "item_reference", id: "msg_1" }), "input[1].type", /'item_reference'.*`previous_response_id`/],
  [inputOf({ type: "computer_call" }), "input[1].type", /'computer_call', which is not supported/],
  [{ instructions: [] }, "instructions", /a string/],
  [{ previous_response_id: 5 }, "previous_response_id", /a string/],
  [{ conversation: "c" }, "conversation", /use `previous_response_id`/],
  [{ prompt: { id: "p" } }, "prompt", /send `instructions`/],
  [{ background: true }, "background", /must be false/],
  [{ max_output_tokens: 0 }, "max_output_tokens", /at least 1/],
  [{ temperature: 3 }, "temperature", /at most 2/],
  [{ reasoning: { effort: "vast" } }, "reasoning.effort", /one of/],
  [{ truncation: "middle" }, "truncation", /must be 'disabled'/],
  [{ metadata: { a: 1 } }, "metadata.a", /a string/],
  [{ include: [5] }, "include[0]", /a string/],
  [{ text: "x" }, "text", /an object/],
  [{ text: { format: { type: "json_schema", name: "n", schema: "s" } } }, "text.format.schema", /JSON Schema/],
  [{ text: { format: { type: "json_schema", schema: {} } } }, "text.format.name", /missing/],
  [{ tools: {} }, "tools", /an array/],
  [{ tools: [fn, {}] }, "tools[1].type", /missing/],
  [{ tools: [{ type: "function" }] }, "tools[0].name", /missing/],
  [{ tools: [{ ...fn, parameters: [] }] }, "tools[0].parameters", /JSON Schema/],
  [{ tools: [{ ...fn, strict: "yes" }] }, "tools[0].strict", /boolean/],
  [{ tools: [{ type: "namespace", name: "n", tools: [{ type: "function" }] }] }, "tools[0].tools[0].name", /missing/],
  [{ tools: [{ type: "web_search" }], tool_choice: "required" }, "tool_choice", /no tools are given that this model can call/],
  [{ tools: [fn, { type: "web_search" }], tool_choice: { type: "web_search" } }, "tool_choice.type", /cannot call/],
  [{ tools: [fn], tool_choice: { type: "function", name: "g" } }, "tool_choice.name", /not in `tools`/],
  [{ tools: [fn], tool_choice: 5 }, "tool_choice", /\{type: 'function', name\}/],
  [{ any: nest(70) }, "any[0][0][0]", /deeper than 64/],
])("responses refuse %#: %s", (fields, param, message) => refusal(response(fields), param, message));

test("responses: a full one, its defaults, and the earlier response", () => {
  const format = { type: "json_schema", name: "n", schema: {}, strict: true };
  const parsed = response({
    tools: [fn],
    tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "f" }] },
    text: { format },
    include: ["message.output_text.logprobs"],
    top_logprobs: 2,
    metadata: { a: "b" },
    truncation: "disabled",
    background: false,
    max_output_tokens: 4,
  });
  expect(parsed).toMatchObject({ ok: true, request: { toolChoice: "required", responseFormat: format, logprobs: 2, maxTokens: 4 } });
  expect(parsed).toMatchObject({ request: { allowedTools: ["f"] } });
  expect(parsed.ok && parsed.request.responses).toMatchObject({
    store: true,
    metadata: { a: "b" },
    input: "hi",
  });
  expect(response({ text: {} })).toMatchObject({ ok: true, request: { responseFormat: { type: "text" }, stream: false } });
  expect(["r", "", 5, null].map((id) => previousResponseIdOf({ previous_response_id: id }))).toEqual(["r", null, null, null]);
  expect(previousResponseIdOf(null)).toBeNull();
});

test("input items get ids that none of the others has", () => {
  expect(inputItemsOf("hi", "1")).toEqual([
    { id: "msg_1_in0", type: "message", role: "user", content: [{ type: "input_text", text: "hi" }] },
  ]);
  const parsed = response({
    input: [
      { role: "user", content: "a" },
      { type: "message", role: "user", content: "b", id: "msg_1_in0" },
      { type: "message", role: "user", content: "c", id: "msg_1_in0" },
    ],
  });
  expect(parsed.ok && inputItemsOf(parsed.request.responses?.input, "1").map((item) => item["id"])).toEqual([
    "msg_1_in0x",
    "msg_1_in0",
    "msg_1_in2",
  ]);
});

test("a namespaced tool's name goes there and back", () => {
  const tools = [fn, { type: "namespace", name: "ns", tools: [{ type: "function", name: "f" }] }];
  expect(splitToolName(tools, "ns__f")).toEqual({ name: "f", namespace: "ns" });
  expect(splitToolName(tools, "f")).toEqual({ name: "f", namespace: null });
  expect(splitToolName(undefined, "f")).toEqual({ name: "f", namespace: null });
});
