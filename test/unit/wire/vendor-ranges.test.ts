/** What the vendors' own APIs take: fields and values that clients send and that must mean here what they mean there. */
import { expect, test } from "vitest";
import { z } from "zod";
import { callId, idTail } from "../../../src/wire/answer-event.ts";
import { parseCompletionRequest } from "../../../src/wire/completions.ts";
import { openaiErrorBody } from "../../../src/wire/openai.ts";
import type { InnerRequest, ParsedRequest } from "../../../src/wire/inner.ts";
import { parseCountTokensRequest, parseMessagesRequest } from "../../../src/wire/messages.ts";
import { openTurnProblem } from "../../../src/wire/open-turn.ts";
import { parseChatRequest } from "../../../src/wire/openai.ts";
import { responseObject } from "../../../src/wire/response-object.ts";
import { parseResponsesRequest } from "../../../src/wire/responses.ts";
import { inputItemsOf } from "../../../src/wire/responses-items.ts";
import { apiError } from "../../../src/errors.ts";
import { errorOfPrompt, mergedCompletion, severalPrompts, tooManyChoices } from "../../../src/wire/several-prompts.ts";
import { finished, head, PLAIN, STARTED, USAGE, wholeOf } from "./answers.ts";

z.config({ jitless: true });

const user = { role: "user", content: "hi" };
const chat = (fields: object): ParsedRequest => parseChatRequest({ model: "m", messages: [user], ...fields });
const completion = (fields: object): ParsedRequest => parseCompletionRequest({ model: "m", prompt: "a", ...fields });
const responses = (fields: object): ParsedRequest => parseResponsesRequest({ model: "m", input: "hi", ...fields }, []);
const messages = (fields: object): ParsedRequest => parseMessagesRequest({ model: "m", max_tokens: 5, messages: [user], ...fields });

function taken(parsed: ParsedRequest): InnerRequest {
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.request;
}
const paramOf = (parsed: ParsedRequest): string | null => (parsed.ok ? "was taken" : parsed.error.param);
const messagesOf = (parsed: ParsedRequest) => {
  const { prompt } = taken(parsed);
  if ("text" in prompt) throw new Error("a text");
  return prompt.messages;
};

test("the greatest effort has its own name in every API", () => {
  expect(taken(chat({ reasoning_effort: "max" })).reasoningEffort).toBe("max");
  expect(taken(responses({ reasoning: { effort: "max" } })).reasoningEffort).toBe("max");
  expect(taken(messages({ output_config: { effort: "max" } })).reasoningEffort).toBe("max");
});

test.each([chat, completion, responses, messages])("top_p 0 is taken, below it is not", (parse) => {
  expect(taken(parse({ top_p: 0 })).topP).toBe(0);
  expect(paramOf(parse({ top_p: -0.01 }))).toBe("top_p");
});

test.each([chat, completion])("seeds are integers of 64 bits", (parse) => {
  for (const seed of [0, -1, 2 ** 53 + 2, 2 ** 63, -(2 ** 63)]) expect(taken(parse({ seed })).seed).toBe(seed);
  for (const seed of [0.5, 2 ** 64, -(2 ** 64), "1"]) expect(paramOf(parse({ seed }))).toBe("seed");
});

test("a refusal is the text that the assistant said, however it is sent", () => {
  const said = { role: "assistant", content: "I can't." };
  expect(messagesOf(chat({ messages: [user, { role: "assistant", content: null, refusal: "I can't." }, user] }))[1]).toEqual(said);
  const part = { role: "assistant", content: [{ type: "refusal", refusal: "I can't." }] };
  expect(messagesOf(chat({ messages: [user, part, user] }))[1]).toEqual(said);
  expect(messagesOf(responses({ input: [user, part, user] }))[1]).toEqual(said);
  // As OpenAI's client gives an answer back that refused nothing.
  expect(messagesOf(chat({ messages: [user, { role: "assistant", content: "x", refusal: null }, user] }))[1]).toMatchObject({
    content: "x",
  });
  expect(paramOf(chat({ messages: [user, { role: "assistant", content: null, refusal: null }] }))).toBe("messages[1].content");
  expect(paramOf(chat({ messages: [user, { role: "assistant", content: "x", refusal: 5 }] }))).toBe("messages[1].refusal");
});

test("a json_schema without a schema is any object", () => {
  expect(taken(chat({ response_format: { type: "json_schema", json_schema: { name: "n" } } })).responseFormat).toEqual({
    type: "json_object",
  });
  expect(taken(responses({ text: { format: { type: "json_schema", name: "n" } } })).responseFormat).toEqual({ type: "json_object" });
  expect(paramOf(messages({ output_config: { format: { type: "json_schema" } } }))).toBe("output_config.format.schema");
});

test("a completion's prompt may be tokens, alone or in an array of one", () => {
  const prompt = { text: "5,17,5,", tokens: [5, 17, 5] };
  expect(taken(completion({ prompt: [5, 17, 5] })).prompt).toEqual(prompt);
  expect(taken(completion({ prompt: [[5, 17, 5]] })).prompt).toEqual(prompt);
});

test("several prompts are recognised, and one is not taken for several", () => {
  expect(severalPrompts({ prompt: ["a", "b"], n: 2 })).toEqual({ prompts: ["a", "b"], n: 2 });
  expect(severalPrompts({ prompt: [[1], [2, 3]] })).toEqual({ prompts: [[1], [2, 3]], n: 1 });
  for (const prompt of ["a", ["a"], [1, 2], [[1, 2]], [], null, undefined]) expect(severalPrompts({ prompt })).toBeNull();
  expect(tooManyChoices({ prompts: Array.from({ length: 64 }, String), n: 2 })).toBeNull();
  expect(tooManyChoices({ prompts: Array.from({ length: 65 }, String), n: 2 })).toMatchObject({ param: "prompt" });
});

test("answers of several prompts are one, their choices counted through, their usage summed", () => {
  const answer = (id: string, cached: number) => ({
    id,
    object: "text_completion",
    choices: [
      { index: 0, text: `${id}0` },
      { index: 1, text: `${id}1` },
    ],
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7, prompt_tokens_details: { cached_tokens: cached } },
  });
  expect(mergedCompletion([answer("a", 1), answer("b", 2)], 2)).toEqual({
    id: "a",
    object: "text_completion",
    choices: [
      { index: 0, text: "a0" },
      { index: 1, text: "a1" },
      { index: 2, text: "b0" },
      { index: 3, text: "b1" },
    ],
    usage: { prompt_tokens: 6, completion_tokens: 8, total_tokens: 14, prompt_tokens_details: { cached_tokens: 3 } },
  });
  const wrong = apiError("invalid_request", "`prompt[1]` must be a token's number.", "prompt[1]");
  expect(errorOfPrompt(wrong, 4)).toMatchObject({ param: "prompt[4][1]", message: "`prompt[4][1]` must be a token's number." });
  expect(errorOfPrompt({ ...wrong, param: "n" }, 4).param).toBe("n");
});

test("truncation that is not done is refused by name", () => {
  expect(paramOf(responses({ truncation: "auto" }))).toBe("truncation");
  expect(taken(responses({ truncation: "disabled" })).api).toBe("responses");
});

test("an unknown previous response is OpenAI's 400", () => {
  const error = apiError("previous_response_not_found", "x", "previous_response_id");
  expect(error.status).toBe(400);
  expect(openaiErrorBody(error).error).toMatchObject({ type: "invalid_request_error", code: "previous_response_not_found" });
});

test("ids of calls have at most 40 characters, and none has a pool's or tenant's name", () => {
  const placed = { ...head, requestId: `req_${"acme-corporation.".repeat(3)}_${"0123456789abcdef".repeat(2)}` };
  const ids = [0, 7].flatMap((choice) =>
    [0, 131_071].flatMap((index) => [callId(placed, "call", choice, index), callId(placed, "toolu", choice, index)]),
  );
  expect(new Set(ids).size).toBe(8);
  for (const id of [...ids, idTail(placed)]) {
    expect(id).not.toContain("acme");
    expect(id.length).toBeLessThanOrEqual(40);
  }
});

test("items of two responses share no id, nor do two of one input", () => {
  const input = [user, user, { type: "function_call_output", call_id: "c", output: "x" }, { ...user, id: "own" }, { ...user, id: "own" }];
  const [one, two] = ["aa", "bb"].map((tail) => inputItemsOf(input, tail).map((item) => item["id"]));
  expect(new Set(one).size).toBe(input.length);
  expect(one?.filter((id) => two?.includes(id))).toEqual(["own"]);
  expect(inputItemsOf("hi", "aa")[0]?.["id"]).not.toBe(inputItemsOf("hi", "bb")[0]?.["id"]);
});

test.each([parseMessagesRequest, parseCountTokensRequest])("what others would run is refused by name", (parse) => {
  const body = { model: "m", max_tokens: 5, messages: [user] };
  expect(paramOf(parse({ ...body, mcp_servers: [{ type: "url", name: "s", url: "https://a.test" }] }))).toBe("mcp_servers");
  expect(paramOf(parse({ ...body, container: "c_1" }))).toBe("container");
  expect(paramOf(parse({ ...body, container: { skills: [] } }))).toBe("container");
  expect(parse({ ...body, mcp_servers: [], container: null }).ok).toBe(true);
});

test("the beta's output_format is output_config.format", () => {
  const format = { type: "json_schema", schema: { type: "object" } };
  const inner = taken(messages({ output_format: format }));
  expect(inner.responseFormat).toEqual(taken(messages({ output_config: { format } })).responseFormat);
  expect(inner.formatPath).toBe("output_format.schema");
  expect(paramOf(messages({ output_format: { type: "text" } }))).toBe("output_format.type");
  expect(paramOf(messages({ output_format: format, output_config: { format } }))).toBe("output_format");
});

test("documents and search results that are text are rendered, in messages and in tools' results", () => {
  const document = { type: "document", title: "T", context: "C", source: { type: "text", media_type: "text/plain", data: "Once." } };
  const pieces = {
    type: "document",
    source: {
      type: "content",
      content: [
        { type: "text", text: "One." },
        { type: "text", text: "Two." },
      ],
    },
  };
  const found = {
    type: "search_result",
    source: "https://a.test",
    title: "A",
    content: [{ type: "text", text: "Found." }],
    citations: { enabled: true },
  };
  const shown = [
    "<document>\n<source>T</source>\n<context>C</context>\n<document_content>\nOnce.\n</document_content>\n</document>\n",
    "<document>\n<document_content>\nOne.\nTwo.\n</document_content>\n</document>\n",
    "<search_result>\n<source>https://a.test</source>\n<title>A</title>\n<content>\nFound.\n</content>\n</search_result>\n",
  ].map((text) => ({ type: "text", text }));
  const blocks = [document, pieces, found];
  expect(messagesOf(messages({ messages: [{ role: "user", content: blocks }] }))[0]?.content).toEqual(shown);
  const call = { role: "assistant", content: [{ type: "tool_use", id: "t", name: "f", input: {} }] };
  const result = { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: blocks }] };
  expect(messagesOf(messages({ messages: [user, call, result] }))[2]).toMatchObject({ role: "tool", content: shown });
});

const calls = [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }];
test.each([
  ["chat", chat, { messages: [user, { role: "assistant", content: null, tool_calls: calls }] }, "messages[1]"],
  ["responses", responses, { input: [user, { type: "function_call", call_id: "c", name: "f", arguments: "{}" }] }, "input[1]"],
  [
    "messages",
    messages,
    { messages: [user, { role: "assistant", content: [{ type: "tool_use", id: "t", name: "f", input: {} }] }] },
    "messages[1]",
  ],
  [
    "messages with a format",
    messages,
    { messages: [user, { role: "assistant", content: "{" }], output_format: { type: "json_schema", schema: {} } },
    "messages[1]",
  ],
] as const)("%s: a conversation that ends with calls can't go on", (_, parse, body, param) => {
  expect(openTurnProblem(taken(parse(body)), body)?.param).toBe(param);
});

test("a conversation that ends with the assistant's text can go on, in every API", () => {
  const said = { role: "assistant", content: "Once" };
  expect(openTurnProblem(taken(chat({ messages: [user, said] })), {})).toBeNull();
  expect(openTurnProblem(taken(responses({ input: [user, said] })), {})).toBeNull();
  expect(openTurnProblem(taken(messages({ messages: [user, said] })), {})).toBeNull();
  expect(openTurnProblem(taken(completion({})), {})).toBeNull();
});

test("a response says when it was completed, its penalties, and each tool and format with all their keys", () => {
  const schema = { type: "object" };
  const request = taken(
    responses({
      presence_penalty: 0.5,
      frequency_penalty: -1,
      tools: [
        { type: "function", name: "f" },
        { type: "function", name: "g", description: "G", parameters: schema, strict: true },
      ],
      text: { format: { type: "json_schema", name: "n", schema, strict: true, description: "D" } },
    }),
  );
  expect(request).toMatchObject({ presencePenalty: 0.5, frequencyPenalty: -1 });
  const usage = { ...USAGE, endedAtS: 9 };
  const whole = responseObject(head, request, wholeOf([...PLAIN.slice(0, -1), usage]));
  expect(whole).toMatchObject({
    completed_at: 9,
    presence_penalty: 0.5,
    frequency_penalty: -1,
    tools: [
      { type: "function", name: "f", description: null, parameters: null, strict: false },
      { type: "function", name: "g", description: "G", parameters: schema, strict: true },
    ],
    text: { format: { type: "json_schema", name: "n", schema, strict: true, description: "D" } },
  });
  const bare = responseObject(
    head,
    taken(responses({ text: { format: { type: "json_schema", name: "n" } } })),
    wholeOf([STARTED, finished("length"), usage]),
  );
  expect(bare).toMatchObject({ status: "incomplete", completed_at: null, presence_penalty: 0, frequency_penalty: 0 });
  expect(bare).toMatchObject({ text: { format: { description: null, schema: null, strict: false } } });
  expect(paramOf(responses({ presence_penalty: 3 }))).toBe("presence_penalty");
});
