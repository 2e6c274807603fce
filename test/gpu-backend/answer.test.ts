/** What an engine writes → answer events, with an engine made of words. */
import { expect, test } from "vitest";
import { anchorsOf } from "../../gpu-backend/anchor.ts";
import { type AnswerStep, answerSteps } from "../../gpu-backend/answer.ts";
import { type ChoiceEvent, Choices } from "../../gpu-backend/choices.ts";
import type { EngineEvent, EngineKey, EngineRun } from "../../gpu-backend/engine/engine.ts";
import { engineRequest, grammarOf } from "../../gpu-backend/engine-request.ts";
import { ChatTemplate } from "../../gpu-backend/template.ts";
import type { InnerRequest } from "../../src/wire/inner.ts";
import { asked, head, logprobs } from "../unit/wire/answers.ts";

const tools = [{ type: "function" as const, function: { name: "find", parameters: { type: "object" } } }];
const withTools = (changes: Partial<InnerRequest> = {}) =>
  asked("chat", { prompt: { messages: [{ role: "user", content: "hi" }], tools }, ...changes });

function engineEvents(pieces: readonly string[], end: Partial<Extract<EngineEvent, { type: "finished" }>> = {}): EngineEvent[] {
  return [
    { type: "queued", promptTokens: 10, blocks: { tokenEnds: new Uint32Array(10), blockKeys: [] } },
    { type: "started", cachedTokens: 8, restoreMs: 0 },
    ...pieces.map((text): EngineEvent => ({ type: "delta", text, tokens: 1, logprobs: logprobs(text) })),
    {
      type: "finished",
      reason: "stop",
      promptTokens: 10,
      cachedTokens: 8,
      outputTokens: pieces.length,
      prefillMs: 1,
      decodeMs: 1,
      stopText: null,
      ...end,
    },
  ];
}

async function* each<T>(values: readonly T[]): AsyncGenerator<T> {
  for (const value of values) yield await Promise.resolve(value);
}

async function steps(request: InnerRequest, events: readonly ChoiceEvent[], prompt = "hi"): Promise<AnswerStep[]> {
  const all: AnswerStep[] = [];
  for await (const step of answerSteps(request, head, { events: each(events), prompt })) all.push(step);
  return all;
}
const one = (events: readonly EngineEvent[]): ChoiceEvent[] => events.map((event) => ({ choice: 0, event }));

test("reasoning, a call, usage", async () => {
  const pieces = ["<think>", "hm", "</think>", "\n<tool_call>", '{"name":"find","arguments":{', '"a":1}}', "</tool_call>"];
  expect(await steps(withTools(), one(engineEvents(pieces)))).toEqual([
    { type: "started", promptTokens: 10, cachedTokens: 8 },
    { type: "reasoning", choice: 0, text: "hm" },
    { type: "tool_call", choice: 0, index: 0, id: "call_1_0_0", name: "find" },
    { type: "tool_arguments", choice: 0, index: 0, text: "{" },
    { type: "tool_arguments", choice: 0, index: 0, text: '"a":1}' },
    { type: "finished", choice: 0, reason: "tool_calls", stopText: null },
    {
      type: "usage",
      usage: { promptTokens: 10, cachedTokens: 8, outputTokens: 7, reasoningTokens: 3 },
      endedAtS: expect.any(Number) as number,
    },
  ]);
});

test("the template has opened the reasoning", async () => {
  const all = await steps(asked("chat"), one(engineEvents(["hm", "</think>", "Yes"])), "…assistant\n<think>\n");
  expect(all.slice(1, 3)).toMatchObject([
    { type: "reasoning", text: "hm" },
    { type: "text", text: "Yes" },
  ]);
});

test("no tools wanted: tags are text; a completion is text whatever it says", async () => {
  const pieces = ['<tool_call>{"name":"find","arguments":{}}</tool_call>'];
  for (const request of [withTools({ toolChoice: "none" }), asked("completions", { prompt: { text: "hi" } })]) {
    const all = await steps(request, one(engineEvents(pieces)));
    expect(all.slice(1, -1)).toMatchObject([
      { type: "text", text: pieces[0] },
      { type: "finished", reason: "stop" },
    ]);
  }
});

test("one call at most: the engine stops at the end of the first", async () => {
  const request = withTools({ parallelToolCalls: false, stop: ["END"] });
  const engine = engineRequest(request, { id: "1", prompt: "", salt: "", contextTokens: 100, grammar: grammarOf(request) });
  expect(engine.stop).toEqual(["END", "</tool_call>"]);
  const all = await steps(request, one(engineEvents(['<tool_call>{"name":"find","arguments":{}}'], { stopText: "</tool_call>" })));
  expect(all.slice(1, -1)).toMatchObject([{ type: "tool_call" }, { type: "tool_arguments" }, { reason: "tool_calls", stopText: null }]);
});

test("a cut tool call is not offered to be called, and the stop string is reported", async () => {
  const cut = await steps(withTools(), one(engineEvents(['<tool_call>{"name":"find","arguments":{"a'], { reason: "length" })));
  expect(cut.at(-2)).toMatchObject({ type: "finished", reason: "length" });
  const stopped = await steps(asked("chat", { stop: ["END"] }), one(engineEvents(["a"], { stopText: "END" })));
  expect(stopped.at(-2)).toMatchObject({ reason: "stop", stopText: "END" });
});

test("logprobs come with their text, later where the text was held back", async () => {
  const all = await steps(withTools({ logprobs: 1 }), one(engineEvents(["<think>x</think>", "a <tool", " b"])));
  expect(all.slice(1, -2)).toMatchObject([
    { type: "reasoning", text: "x" },
    { type: "text", text: "a", logprobs: [{ token: "a <tool" }] },
    { type: "text", text: " <tool b", logprobs: [{ token: " b" }] },
  ]);
});

test("echo comes with the first token, once a choice", async () => {
  const request = asked("completions", { prompt: { text: "Say" }, echo: true, n: 2 });
  const first = one(engineEvents([" a", "b"]));
  const second = engineEvents([]).map((event) => ({ choice: 1, event }));
  const all = await steps(request, [...first, ...second]);
  const texts = all.flatMap((step) => (step.type === "text" ? [[step.choice, step.text]] : []));
  expect(texts).toEqual([
    [0, "Say"],
    [0, " a"],
    [0, "b"],
    [1, "Say"],
  ]);
  expect(all.at(-1)).toMatchObject({ usage: { promptTokens: 10, cachedTokens: 8, outputTokens: 2 } });
});

test("an engine that fails ends the answer", async () => {
  const all = await steps(asked("chat"), one(engineEvents(["a"], { reason: "error", message: "died" })));
  expect(all.at(-1)).toEqual({ type: "lost", message: "died" });
});

test("grammars: insisted on, let go, named", () => {
  const schema = { type: "object" };
  expect(grammarOf(withTools())).toBeNull();
  expect(grammarOf(withTools({ toolChoice: { name: "find" } }))).toMatchObject({
    type: "tool_calls",
    tools: [{ name: "find" }],
    parallel: false,
  });
  expect(grammarOf(withTools({ toolChoice: "required" }))).toMatchObject({ type: "tool_calls", parallel: true });
  const format = (strict: boolean) => ({ type: "json_schema" as const, name: "a", schema, strict });
  expect(grammarOf(asked("chat", { responseFormat: format(true) }))).toEqual({ type: "json_schema", schema, strict: true });
  expect(grammarOf(asked("chat", { responseFormat: format(false) }))).toEqual({ type: "json_schema", schema, strict: false });
});

test("grammars: tools beside a format are calls or the format; forced tools are calls; none are the format", () => {
  const responseFormat = { type: "json_object" as const };
  const tool = { name: "find", parameters: { type: "object" }, strict: false };
  const calls = { type: "tool_calls", tools: [tool], parallel: true };
  expect(grammarOf(withTools({ responseFormat }))).toEqual({ ...calls, otherwise: responseFormat });
  expect(grammarOf(withTools({ responseFormat, toolChoice: "auto", parallelToolCalls: false }))).toMatchObject({ parallel: false });
  expect(grammarOf(withTools({ responseFormat, toolChoice: "required" }))).toEqual({ ...calls, otherwise: null });
  expect(grammarOf(withTools({ responseFormat, toolChoice: "none" }))).toEqual(responseFormat);
  expect(grammarOf(withTools({ responseFormat, allowedTools: ["other"] }))).toEqual(responseFormat);
});

test("of the tools only those that are allowed can be called", async () => {
  const other = { type: "function" as const, function: { name: "list" } };
  const both = (changes: Partial<InnerRequest>) =>
    asked("chat", { prompt: { messages: [{ role: "user", content: "hi" }], tools: [...tools, other] }, ...changes });
  const forced = both({ toolChoice: "required", allowedTools: ["list"] });
  expect(grammarOf(forced)).toMatchObject({ tools: [{ name: "list" }] });
  const pieces = ['<tool_call>{"name":"find","arguments":{}}</tool_call>'];
  const kinds = async (allowedTools: string[] | null) =>
    (await steps(both({ allowedTools }), one(engineEvents(pieces)))).map(({ type }) => type);
  expect(await kinds(["find"])).toContain("tool_call");
  expect(await kinds(["list"])).not.toContain("tool_call");
});

test("a forced call that is cut leaves no mark in the text, and is no call to make", async () => {
  const whole = '<tool_call>{"name":"find","arguments":{"a":1}}</tool_call>';
  for (let length = 0; length < whole.length; length += 1) {
    for (const end of [{ reason: "length" }, { reason: "stop", stopText: "x" }] as const) {
      const request = withTools({ toolChoice: "required", stop: ["x"] });
      const all = await steps(request, one(engineEvents([whole.slice(0, length)], end)));
      expect(all.filter(({ type }) => type === "text")).toEqual([]);
      const called = all.some(({ type }) => type === "tool_call");
      const finish = all.find(({ type }) => type === "finished");
      if (end.reason === "length" || !called || !whole.slice(0, length).includes("}")) expect(finish).toMatchObject({ reason: end.reason });
      else expect(finish).toMatchObject({ reason: "tool_calls" });
    }
  }
});

test("a text of the format may spell a call", async () => {
  const request = withTools({ responseFormat: { type: "json_object" } });
  const json = '{"a":"<tool_call>{\\"name\\":\\"find\\",\\"arguments\\":{}}</tool_call>"}';
  const all = await steps(request, one(engineEvents([json])));
  expect(all.slice(1, -1)).toMatchObject([{ type: "text", text: json }, { reason: "stop" }]);
});

test("other choices run behind the first one's prompt, again while the engine is full", async () => {
  const run = (pieces: readonly string[]): EngineRun => ({ type: "accepted", events: each(engineEvents(pieces)), abort: () => undefined });
  const log: string[] = [];
  let refusals = 2;
  const choices = new Choices(run(["a", "b"]), 3, (choice) => {
    log.push(`submit ${choice}`);
    if (choice === 1 && refusals-- > 0) return Promise.resolve({ type: "refused", reason: "busy", message: "full" });
    return Promise.resolve(run([`c${choice}`]));
  });
  for await (const { choice, event } of choices.events()) log.push(`${event.type} ${choice}`);
  expect(log.indexOf("submit 1")).toBeGreaterThan(log.indexOf("started 0"));
  expect(log.filter((line) => line === "submit 1")).toHaveLength(3);
  expect(log.filter((line) => line.startsWith("finished")).toSorted()).toEqual(["finished 0", "finished 1", "finished 2"]);
});

test("a prompt without a template is anchored where its own bytes end", () => {
  const template = ChatTemplate.parse("{{ messages }}");
  if (!(template instanceof ChatTemplate)) throw new Error(template.message);
  const key = (name: string) => name as EngineKey;
  const anchors = anchorsOf(template, { text: "aé bc def" }, "system-then-tools", {
    // The mark, then 4, 8, 10 bytes of text; tokens of 2 bytes, blocks of 2 tokens.
    chain: { hashes: new BigUint64Array([1n, 2n, 3n]), ends: new Uint32Array([5, 9, 11]) },
    pieces: [],
    rendered: "aé bc def",
    tokenEnds: new Uint32Array([2, 4, 6, 8, 10]),
    blockKeys: [key("k0"), key("k1")],
    blockTokens: 2,
  });
  expect(anchors).toEqual([
    { hash: 1n, key: "k0", tokens: 2 },
    { hash: 2n, key: "k1", tokens: 4 },
  ]);
});
