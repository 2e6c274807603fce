/** Prompts that the edge refuses by their bytes, and those that it lets pass. */
import { describe, expect, it } from "vitest";
import { ask, Replicas } from "./edge.ts";
import { capacity, MockReplica } from "./mock-replica.ts";

const replicas = new Replicas();
await MockReplica.join("default", "small", { capacity: { ...capacity, contextTokens: 1_000, longestTokenBytes: 8 } });
await MockReplica.join("default", "large", { capacity: { ...capacity, contextTokens: 2_000, longestTokenBytes: 4 } });
const user = (content: string) => [{ role: "user", content }];
const APIS = [
  ["/v1/chat/completions", (text: string) => ({ messages: user(text) }), "messages"],
  ["/v1/completions", (prompt: string) => ({ prompt }), "prompt"],
  ["/v1/messages", (text: string) => ({ max_tokens: 1, messages: user(text) }), undefined],
  ["/v1/messages/count_tokens", (text: string) => ({ messages: user(text) }), undefined],
  ["/v1/responses", (input: string) => ({ input, store: false }), "input"],
  ["/v1/responses/input_tokens", (input: string) => ({ input }), "input"],
  ["/v1/prewarm", (text: string) => ({ messages: user(text) }), "messages"],
] as const;

describe.each(APIS)("%s", (path, bodyOf, param) => {
  it("refuses a prompt of more bytes than the tokens of the largest context stand for, and asks no replica", async () => {
    replicas.answer = () => Response.json({ error: { message: "A replica was asked." } }, { status: 400 });
    const long = await ask(path, { model: "demo", ...bodyOf("x".repeat(16_001)) });
    expect([long.status, await long.json()]).toEqual([
      400,
      expect.objectContaining({
        error: expect.objectContaining({ message: expect.stringContaining("2001 tokens"), ...(param && { param }) }),
      }),
    ]);
    expect(replicas.sent).toHaveLength(0);
    await ask(path, { model: "demo", ...bodyOf("x".repeat(15_992)) });
    expect(replicas.sent).toHaveLength(1);
  });
});

it.each([
  ["white space, which a template may trim", user(" ".repeat(100_000))],
  [
    "what the model said, of which a template may leave out the reasoning",
    [...user("Hi"), { role: "assistant", content: "x".repeat(100_000) }, ...user("Go on")],
  ],
  ["a tool's result, which a template may not know", [...user("Hi"), { role: "tool", tool_call_id: "a", content: "x".repeat(100_000) }]],
])("a chat is not refused by the bytes of %s", async (_name, messages) => {
  replicas.answer = () => Response.json({ error: { message: "A replica was asked." } }, { status: 400 });
  await ask("/v1/chat/completions", { model: "demo", messages });
  expect(replicas.sent).toHaveLength(1);
});
