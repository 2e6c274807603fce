import type OpenAI from "openai";
import { expect, test } from "vitest";
import { CompletionStream, textCompletion } from "../../../src/wire/completion-answer.ts";
import { asked, finished, head, logprobs, PLAIN, STARTED, USAGE, wholeOf, written } from "./answers.ts";

test("a whole answer is OpenAI's type", () => {
  const body: OpenAI.Completion = textCompletion(head, asked("completions"), wholeOf(PLAIN));
  expect(body).toMatchObject({
    id: "cmpl-1",
    object: "text_completion",
    choices: [{ index: 0, text: "Hello", logprobs: null, finish_reason: "stop" }],
    usage: { prompt_tokens: 10, completion_tokens: 9 },
  });
});

const events = [
  STARTED,
  { type: "text", choice: 0, text: " ab", logprobs: logprobs(" a", "b") },
  { type: "text", choice: 0, text: "c", logprobs: logprobs("c") },
  finished("length"),
  USAGE,
] as const;
const request = asked("completions", { prompt: { text: "Say" }, logprobs: 2, includeUsage: true, stream: true });

test("logprobs are where the tokens begin in the text", () => {
  expect(textCompletion(head, request, wholeOf(events)).choices[0]).toEqual({
    index: 0,
    text: " abc",
    logprobs: {
      tokens: [" a", "b", "c"],
      token_logprobs: [-0.5, -0.5, -0.5],
      top_logprobs: [
        { " a": -0.5, x: -0.5 },
        { b: -0.5, x: -0.5 },
        { c: -0.5, x: -0.5 },
      ],
      text_offset: [0, 2, 3],
    },
    finish_reason: "length",
  });
});

test("chunks", () => {
  const all = written(new CompletionStream(head, request), events);
  const chunks = all.slice(0, -1).map(({ data }) => data as OpenAI.Completion);
  expect(chunks.map(({ choices }) => choices[0]?.text)).toEqual([" ab", "c", "", undefined]);
  expect(chunks.map(({ choices }) => choices[0]?.finish_reason)).toEqual([null, null, "length", undefined]);
  expect(chunks.map(({ choices }) => choices[0]?.logprobs?.text_offset)).toEqual([[0, 2], [3], undefined, undefined]);
  expect(chunks.at(-1)).toMatchObject({ usage: { total_tokens: 19 }, choices: [] });
  expect(all.at(-1)?.data).toBe("[DONE]");
});
