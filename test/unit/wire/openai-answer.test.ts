import { expect, test } from "vitest";
import { chatCompletion, ChatChunks } from "../../../src/wire/openai-answer.ts";

const head = { id: "chatcmpl-1", createdS: 7, model: "demo" };
const usage = { promptTokens: 10, cachedTokens: 8, completionTokens: 3 };
const usageBody = { prompt_tokens: 10, completion_tokens: 3, total_tokens: 13, prompt_tokens_details: { cached_tokens: 8 } };

test("a whole answer", () => {
  const answer = chatCompletion(head, { content: "hi", toolCalls: [], finishReason: "stop", usage });
  expect(answer).toEqual({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 7,
    model: "demo",
    choices: [{ index: 0, message: { role: "assistant", content: "hi", refusal: null }, logprobs: null, finish_reason: "stop" }],
    usage: usageBody,
  });
});

test("chunks: role first, choices last, usage only when asked for", () => {
  const chunks = new ChatChunks(head, { includeUsage: true });
  const all = [chunks.first(), chunks.text("hi"), chunks.finish("stop"), chunks.usage(usage)];
  for (const chunk of all) expect(Object.keys(chunk ?? {}).at(-1)).toBe("choices");
  expect(all[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
  expect(all[1]).toMatchObject({ usage: null, choices: [{ delta: { content: "hi" }, finish_reason: null }] });
  expect(all[2]?.choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
  expect(all[3]).toMatchObject({ usage: usageBody, choices: [] });
  const silent = new ChatChunks(head, { includeUsage: false });
  expect(silent.usage(usage)).toBeNull();
  expect(silent.text("x")).not.toHaveProperty("usage");
});
