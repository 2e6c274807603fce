import fc from "fast-check";
import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";
import { chainOf } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import type { ChatMessage, ChatPrompt, Tool } from "../../../src/prefix/prompt.ts";
import type { SegmentSchedule } from "../../../src/prefix/segment.ts";
import { TEMPLATE_ORDERS } from "../../../src/prefix/segment.ts";

const xxh = await xxhash();
const hash64 = (bytes: Uint8Array, seed: bigint): bigint => xxh.h64Raw(bytes, seed);
const encoder = new PromptEncoder(hash64, { recordPieces: true });
const order = "system-then-tools";
const schedule: SegmentSchedule = [{ untilBytes: null, segmentBytes: 32 }];

function encode(prompt: ChatPrompt, inOrder = TEMPLATE_ORDERS[1] ?? order): Buffer {
  return Buffer.from(encoder.encode(prompt, inOrder));
}
const ofMessages = (...messages: ChatMessage[]): Buffer => encode({ messages, tools: [] });

function promptOf(text: fc.Arbitrary<string>): { message: fc.Arbitrary<ChatMessage>; prompt: fc.Arbitrary<ChatPrompt> } {
  const part = fc.oneof(
    text.map((value) => ({ type: "text" as const, text: value })),
    text.map((url) => ({ type: "image_url" as const, image_url: { url } })),
  );
  const content = fc.oneof(text, fc.array(part, { minLength: 1, maxLength: 3 }));
  const call = fc.record({ id: fc.string(), function: fc.record({ name: text, arguments: text }) });
  const calls = fc.option(fc.array(call, { minLength: 1, maxLength: 2 }));
  const message: fc.Arbitrary<ChatMessage> = fc.oneof(
    fc.record({ role: fc.constantFrom("system" as const, "user" as const), content }),
    fc.record({ role: fc.constant("assistant" as const), content: fc.option(content), tool_calls: calls }),
    fc.record({ role: fc.constant("tool" as const), content, tool_call_id: fc.string() }),
  );
  const tool: fc.Arbitrary<Tool> = fc.record({
    type: fc.constant("function" as const),
    function: fc.record({ name: text, description: text, parameters: fc.dictionary(text, text) }),
  });
  return {
    message,
    prompt: fc.record({ messages: fc.array(message, { minLength: 1, maxLength: 4 }), tools: fc.array(tool, { maxLength: 2 }) }),
  };
}
const text = fc.string({ unit: "binary", maxLength: 80 });
const { message, prompt } = promptOf(text);
/** So few texts that prompts are often alike, or differ only in where a text is cut. */
const close = promptOf(fc.constantFrom("", "a", "aa"));
const alike = fc.record({ messages: fc.array(close.message, { minLength: 1, maxLength: 2 }), tools: fc.constant([]) });

/** What the stream promises to tell apart: ids out, one text part = a string, null = left out, lone surrogates = U+FFFD. */
function meaning({ messages, tools }: ChatPrompt): string {
  const bare = messages.map(({ role, content: value, tool_calls: calls }) => [
    role,
    typeof value === "string"
      ? [["text", value]]
      : (value ?? []).map((part) => [part.type, part.type === "text" ? part.text : part.image_url?.url]),
    (calls ?? []).map((each) => [each.function.name, each.function.arguments]),
  ]);
  return JSON.stringify([bare, tools.map((each) => JSON.stringify(each.function))]);
}

test("a small prompt, byte by byte", () => {
  const bytes = encode({
    messages: [
      { role: "developer", content: "é" },
      {
        role: "user",
        name: "Al",
        content: [
          { type: "text", text: "hi" },
          { type: "image_url", image_url: { url: "u" } },
        ],
      },
      { role: "assistant", content: null, tool_calls: [{ id: "x", type: "function", function: { name: "f", arguments: "{}" } }] },
    ],
    tools: [{ type: "function", function: { name: "f", parameters: { b: 1, a: 2 } } }],
  });
  const digest = xxh.h64("u", 0n).toString(16).padStart(16, "0");
  const latin = `\xf9system\xfa\xc3\xa9\xf8{"name":"f","parameters":{"b":1,"a":2}}\xf9user\xffAl\xfahi\xfbimage_url ${digest} auto\xf9assistant\xfdf\xfe{}`;
  expect(bytes.toString("latin1")).toBe(latin);
});

test("a prompt of text alone is one text item in every order", () => {
  for (const each of TEMPLATE_ORDERS) {
    expect(Buffer.from(encoder.encode({ text: "Once é" }, each)).toString("latin1")).toBe("\xfaOnce \xc3\xa9");
    expect(encoder.pieces).toEqual([{ kind: "text", start: 1, end: 8, text: "Once é" }]);
  }
});

test("equal bytes mean equal prompts: any difference in roles, parts, calls, tools or text shows", () => {
  fc.assert(
    fc.property(
      fc.oneof(close.prompt, alike, prompt),
      fc.oneof(close.prompt, alike),
      fc.constantFrom(...TEMPLATE_ORDERS),
      (left, right, inOrder) => {
        expect(encode(left, inOrder).equals(encode(right, inOrder))).toBe(meaning(left) === meaning(right));
      },
    ),
    { numRuns: 2_000 },
  );
});

test("chains are equal up to the first difference and nowhere after it", () => {
  fc.assert(
    fc.property(prompt, prompt, (left, right) => {
      const [a, b] = [encode(left), encode(right)];
      let common = 0;
      while (common < Math.min(a.length, b.length) && a[common] === b[common]) common += 1;
      const [chainA, chainB] = [chainOf(hash64, 1n, a, schedule), chainOf(hash64, 1n, b, schedule)];
      for (let index = 0; index < Math.min(chainA.ends.length, chainB.ends.length); index += 1) {
        expect(chainA.hashes[index] === chainB.hashes[index]).toBe((chainA.ends[index] ?? 0) <= common);
      }
    }),
    { numRuns: 300 },
  );
});

test.each(["tools-first", "system-then-tools"] as const)("appended messages and longer texts extend the bytes (%s)", (inOrder) => {
  fc.assert(
    fc.property(prompt, fc.array(message, { minLength: 1, maxLength: 3 }), (start, more) => {
      const longer = encode({ ...start, messages: [...start.messages, ...more] }, inOrder);
      const shorter = encode(start, inOrder);
      expect(longer.subarray(0, shorter.length).equals(shorter)).toBe(true);
    }),
  );
});

test("a string is the same as one text part, two parts are not the same as one", () => {
  fc.assert(
    fc.property(text, (value) => {
      expect(ofMessages({ role: "user", content: value })).toEqual(ofMessages({ role: "user", content: [{ type: "text", text: value }] }));
    }),
  );
  const parts = ["a", "b"].map((value) => ({ type: "text" as const, text: value }));
  expect(ofMessages({ role: "user", content: parts })).not.toEqual(ofMessages({ role: "user", content: "ab" }));
});

test("ids and cache_control marks change nothing", () => {
  const one: unknown = {
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "x", cache_control: { type: "ephemeral" } },
          { type: "refusal", refusal: "r", cache_control: {} },
        ],
        id: "msg_1",
      },
      {
        role: "assistant",
        content: "",
        tool_calls: [{ id: "call_1", type: "function", function: { name: "f", arguments: "{}" } }],
        metadata: { a: 1 },
      },
      { role: "tool", tool_call_id: "call_1", content: "y" },
    ],
    tools: [
      { type: "function", cache_control: {}, function: { name: "f", cache_control: {}, parameters: { properties: { cache_control: 1 } } } },
    ],
  };
  const other: unknown = {
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "x" },
          { type: "refusal", refusal: "r" },
        ],
      },
      { role: "assistant", content: "", tool_calls: [{ id: "call_2", function: { name: "f", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "call_2", content: "y" },
    ],
    tools: [{ type: "function", function: { name: "f", parameters: { properties: { cache_control: 1 } } } }],
  };
  expect(encode(one as ChatPrompt)).toEqual(encode(other as ChatPrompt));
});

test("tools stand where the template has them", () => {
  const tools: Tool[] = [{ type: "function", function: { name: "T" } }];
  const messages: ChatMessage[] = [
    { role: "system", content: "S" },
    { role: "user", content: "U" },
    { role: "assistant", content: "A" },
    { role: "user", content: "V" },
    { role: "tool", content: "R" },
  ];
  const seen = TEMPLATE_ORDERS.map((each) =>
    encode({ messages, tools }, each)
      .toString("latin1")
      .replaceAll(/[^STUAVR]/g, ""),
  );
  expect(seen).toEqual(["TSUAVR", "STUAVR", "SUATVR"]);
  expect(encode({ messages: messages.slice(1, 2), tools }).toString("latin1")).toMatch(/^\xf8.*\xf9user/);
  expect(encode({ messages: messages.slice(0, 1), tools }, "tools-in-last-user").toString("latin1")).toMatch(/^\xf8.*\xf9system/);
});

test("pieces say where each text lies, also when the buffer had to grow", () => {
  const long = "€".repeat(100_000);
  const bytes = ofMessages({ role: "user", content: long }, { role: "user", content: "end" });
  expect(bytes.length).toBe(2 * (1 + 4) + 1 + 300_000 + 1 + 3);
  for (const piece of encoder.pieces) expect(bytes.subarray(piece.start, piece.end).toString()).toBe(piece.text);
  expect(encoder.pieces.map((piece) => piece.kind)).toEqual(["message", "text", "message", "text"]);
  expect(ofMessages({ role: "user", content: "\ud800" })).toEqual(ofMessages({ role: "user", content: "\ufffd" }));
});
