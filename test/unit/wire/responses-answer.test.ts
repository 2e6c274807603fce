import type { Response, ResponseStreamEvent } from "openai/resources/responses/responses";
import { expect, test } from "vitest";
import type { AnswerEvent } from "../../../src/wire/answer-event.ts";
import type { InnerRequest } from "../../../src/wire/inner.ts";
import { responseObject, type ResponseObject } from "../../../src/wire/response-object.ts";
import { ResponseStream } from "../../../src/wire/responses-answer.ts";
import { asked, finished, head, logprobs, PLAIN, RICH, sseEvents, STARTED, USAGE, wholeOf, written } from "./answers.ts";

const request = asked("responses", {
  responses: {
    store: true,
    previousResponseId: "resp_p_0",
    instructions: "Be brief.",
    metadata: { a: "b" },
    echoed: { tools: [{ type: "function", name: "find", parameters: {}, strict: true }], tool_choice: "auto" },
    input: [],
  },
});

/** The client's type has names for what is echoed, and `output_text`, which the client makes. */
type CheckedResponse = Omit<Response, "output_text" | "access_programs" | "tool_choice" | "tools" | "metadata" | "usage" | "object">;
const checked = (body: ResponseObject): CheckedResponse => body;

test("a whole answer is OpenAI's type", () => {
  expect(checked(responseObject(head, request, wholeOf(RICH)))).toMatchObject({
    id: "resp_p_1",
    object: "response",
    created_at: 7,
    status: "completed",
    error: null,
    incomplete_details: null,
    instructions: "Be brief.",
    metadata: { a: "b" },
    model: "demo",
    output: [
      { id: "rs_1_0", type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Let me see" }], status: "completed" },
      { id: "msg_1_1", type: "message", role: "assistant", content: [{ type: "output_text", text: "Looking.", annotations: [] }] },
      { id: "fc_1_2", type: "function_call", call_id: "call_1", name: "find", arguments: '{"q":"a"}', status: "completed" },
      { id: "fc_1_3", type: "function_call", call_id: "call_2", name: "list", arguments: "{}" },
    ],
    parallel_tool_calls: true,
    previous_response_id: "resp_p_0",
    store: true,
    temperature: 1,
    tool_choice: "auto",
    tools: [{ name: "find" }],
    top_p: 1,
    text: { format: { type: "text" } },
    usage: {
      input_tokens: 10,
      input_tokens_details: { cached_tokens: 8 },
      output_tokens: 9,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 19,
    },
  });
});

test("an answer that was cut is incomplete, and so is its last item", () => {
  const cut = [...PLAIN.slice(0, 3), finished("length"), USAGE];
  expect(responseObject(head, request, wholeOf(cut))).toMatchObject({
    status: "incomplete",
    incomplete_details: { reason: "max_output_tokens" },
    output: [{ status: "incomplete" }],
  });
  expect(types(cut).at(-1)).toBe("response.incomplete");
});

const types = (events: readonly AnswerEvent[], asking: InnerRequest = request): string[] =>
  written(new ResponseStream(head, asking), events).map(({ name }) => name ?? "");

const TEXT_ITEM = ["response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.delta"];
const TEXT_DONE = ["response.output_text.done", "response.content_part.done", "response.output_item.done"];

test("events of a text", () => {
  expect(types(PLAIN)).toEqual(["response.created", "response.in_progress", ...TEXT_ITEM, ...TEXT_DONE, "response.completed"]);
});

test("events of reasoning, text and calls: numbered from 0, done items as in the response", () => {
  const events = written(new ResponseStream(head, request), RICH);
  const data = events.map((event) => event.data as ResponseStreamEvent);
  expect(data.map((event) => event.sequence_number)).toEqual(data.map((_, index) => index));
  for (const [index, event] of data.entries()) expect(event.type).toBe(events[index]?.name);
  const argumentEvents = ["response.function_call_arguments.delta", "response.function_call_arguments.done", "response.output_item.done"];
  expect(data.map((event) => event.type)).toEqual([
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.content_part.done",
    "response.output_item.done",
    ...TEXT_ITEM,
    ...TEXT_DONE,
    "response.output_item.added",
    "response.function_call_arguments.delta",
    ...argumentEvents,
    "response.output_item.added",
    ...argumentEvents,
    "response.completed",
  ]);
  const done = data.flatMap((event) => (event.type === "response.output_item.done" ? [event.item] : []));
  const last = data.at(-1);
  expect(last?.type === "response.completed" && last.response.output).toEqual(done);
  expect(last?.type === "response.completed" && last.response).toEqual(responseObject(head, request, wholeOf(RICH)));
  const added = data.flatMap((event) => (event.type === "response.output_item.added" ? [event.item] : []));
  expect(added).toMatchObject([
    { type: "reasoning", status: "in_progress", content: [] },
    { type: "message", status: "in_progress", content: [] },
    { type: "function_call", arguments: "", name: "find", call_id: "call_1" },
    { type: "function_call", arguments: "", name: "list", call_id: "call_2" },
  ]);
});

test("text after a call is another message", () => {
  const events: AnswerEvent[] = [
    STARTED,
    { type: "tool_call", choice: 0, index: 0, id: "c", name: "f" },
    { type: "tool_arguments", choice: 0, index: 0, text: "{}" },
    { type: "text", choice: 0, text: "so", logprobs: null },
    finished("tool_calls"),
    USAGE,
  ];
  expect(responseObject(head, request, wholeOf(events)).output.map(({ id }) => id)).toEqual(["fc_1_0", "msg_1_1"]);
  expect(types(events)).toEqual([
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    ...TEXT_ITEM.slice(0, 3),
    ...TEXT_DONE,
    "response.completed",
  ]);
});

test("logprobs, nothing at all, and a failure", () => {
  const events: AnswerEvent[] = [STARTED, { type: "text", choice: 0, text: "a", logprobs: logprobs("a") }, finished("stop"), USAGE];
  const delta = written(new ResponseStream(head, asked("responses", { logprobs: 2 })), events)[4];
  expect(delta?.data).toMatchObject({
    delta: "a",
    logprobs: [{ token: "a", logprob: -0.5, top_logprobs: [{ token: "a" }, { token: "x" }] }],
  });
  expect(types([STARTED, finished("stop"), USAGE])).toEqual([
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    ...TEXT_DONE,
    "response.completed",
  ]);
  const stream = new ResponseStream(head, request);
  stream.open();
  const [failed] = sseEvents(stream.fail({ code: "replica_lost", status: 502, message: "gone", param: null }));
  expect(failed).toMatchObject({
    name: "response.failed",
    data: { sequence_number: 2, response: { status: "failed", error: { code: "server_error", message: "gone" } } },
  });
});
