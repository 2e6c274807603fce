import { expect, test } from "vitest";
import { leastPromptBytes } from "../../../src/prefix/least-bytes.ts";
import type { ChatPrompt } from "../../../src/prefix/prompt.ts";

const text = "a é\u{1F642}\u00a0京\n";
const chat: ChatPrompt = {
  messages: [
    { role: "system", content: text },
    {
      role: "user",
      content: [
        { type: "text", text },
        { type: "text", text: text.repeat(3) },
      ],
    },
    { role: "assistant", content: "what templates may leave out" },
    { role: "user", content: text.repeat(10) },
  ],
  tools: [],
} as unknown as ChatPrompt;

test("of a chat the rendered texts count without white space, of a text all", () => {
  const solid = Buffer.byteLength("aé\u{1F642}京");
  expect(leastPromptBytes(chat)).toBe(solid * 15);
  expect(leastPromptBytes({ text })).toBe(Buffer.byteLength(text));
});

test("nothing is counted beyond what is enough, and up to there as without a limit", () => {
  for (const prompt of [chat, { text: text.repeat(9) }]) {
    const all = leastPromptBytes(prompt);
    for (let enough = 0; enough <= all + 2; enough++) expect(leastPromptBytes(prompt, enough)).toBe(Math.min(all, enough));
  }
});

test("a long prompt is not walked to its end", () => {
  let looked = 0;
  const counted = {
    role: "user",
    get content() {
      looked++;
      return "x".repeat(100);
    },
  };
  leastPromptBytes({ messages: Array.from({ length: 1_000 }, () => counted), tools: [] } as unknown as ChatPrompt, 250);
  expect(looked).toBe(3);
});
