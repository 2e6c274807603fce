import fc from "fast-check";
import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";
import type { PromptOffsets } from "../../gpu-backend/anchor.ts";
import { anchorSegments, anchorsOf, promptOffsets, toRenderedOffset } from "../../gpu-backend/anchor.ts";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { chainOf } from "../../src/prefix/chain.ts";
import type { PromptPiece } from "../../src/prefix/prompt-encoder.ts";
import { PromptEncoder } from "../../src/prefix/prompt-encoder.ts";
import type { ChatMessage, ChatPrompt, Tool } from "../../src/prefix/prompt.ts";
import type { TemplateOrder } from "../../src/prefix/segment.ts";
import * as samples from "./template-samples.ts";
import { render, templateOf } from "./template-samples.ts";

const xxh = await xxhash();
const encoder = new PromptEncoder((bytes, seed) => xxh.h64Raw(bytes, seed), { recordPieces: true });

interface Located {
  offsets: PromptOffsets;
  canonical: Buffer;
  rendered: Buffer;
  pieces: PromptPiece[];
}

function locate(source: string, prompt: ChatPrompt, order: TemplateOrder): Located | null {
  const template = templateOf(source);
  const text = render(template, prompt);
  const canonical = Buffer.from(encoder.encode(prompt, order));
  const pieces = [...encoder.pieces];
  const offsets = promptOffsets(template, { prompt, order, pieces, rendered: text, addGenerationPrompt: true });
  return offsets && { offsets, canonical, rendered: Buffer.from(text), pieces };
}

/** The rendered bytes that the canonical bytes up to and including `word` decide. */
function renderedUpTo(located: Located | null, word: string): string | undefined {
  if (located === null) return undefined;
  const end = located.canonical.indexOf(word) + Buffer.byteLength(word);
  return located.rendered.subarray(0, toRenderedOffset(located.offsets, end)).toString();
}

const tools: Tool[] = ["alpha", "beta"].map((name) => ({ type: "function", function: { name, description: `does ${name} ä` } }));
const talk: ChatMessage[] = [
  { role: "system", content: "Sei höflich 🌍." },
  { role: "user", content: "  Grüße\n" },
  { role: "assistant", content: "Hallo!" },
  { role: "user", content: "Und jetzt?" },
];

test("texts are found to the byte, whatever comes before", () => {
  const located = locate(samples.SYSTEM_THEN_TOOLS, { messages: talk, tools }, "system-then-tools");
  expect(renderedUpTo(located, "höflich 🌍")).toMatch(/^<\|im_start\|>system\nSei höflich 🌍$/);
  expect(renderedUpTo(located, "Grüß")).toMatch(/user\n {2}Grüß$/);
  expect(renderedUpTo(located, "Und jetzt")).toMatch(/Und jetzt$/);
});

test("what is not a text rounds up to the next mark: roles, tools, the end", () => {
  const located = locate(samples.SYSTEM_THEN_TOOLS, { messages: talk, tools }, "system-then-tools");
  expect(renderedUpTo(located, "does alpha")).toMatch(/"name": "beta$/);
  expect(renderedUpTo(located, "does beta")).toMatch(/<\|im_start\|>user\n {2}$/);
  expect(located && toRenderedOffset(located.offsets, located.canonical.length + 1)).toBe(located?.rendered.length);
  const first = locate(samples.TOOLS_FIRST, { messages: talk, tools }, "tools-first");
  expect(renderedUpTo(first, "does alpha")).toMatch(/^<s>\[TOOLS\].*"beta$/);
  const last = locate(samples.TOOLS_IN_LAST_USER, { messages: talk.slice(1), tools }, "tools-in-last-user");
  expect(renderedUpTo(last, "Hallo!")).toMatch(/Hallo!$/);
  expect(renderedUpTo(last, "does beta")).toMatch(/<user>\n$/);
});

test("a trimming template: the text inside is found, the trimmed end rounds up", () => {
  const located = locate(samples.TOOLS_IN_LAST_USER, { messages: talk.slice(1), tools: [] }, "tools-in-last-user");
  expect(renderedUpTo(located, "Grü")).toBe("<user>\nGrü");
  expect(renderedUpTo(located, "Grüße\n")).toMatch(/<assistant>\n$/);
});

test("content parts, an image too, are located under both kinds of template", () => {
  const content = [
    { type: "text" as const, text: "erster Teil" },
    { type: "image_url" as const, image_url: { url: "u" } },
    { type: "text" as const, text: "zweiter Teil" },
  ];
  const prompt: ChatPrompt = { messages: [{ role: "user", content }], tools: [] };
  expect(renderedUpTo(locate(samples.TOOLS_FIRST, prompt, "tools-first"), "zweiter")).toBe("<s><user>erster Teil<image>zweiter");
  expect(renderedUpTo(locate(samples.SYSTEM_THEN_TOOLS, prompt, "tools-first"), "zweiter")).toMatch(/erster Teil\n<image_url>\nzweiter$/);
});

test("a template that peeks, reorders or repeats is not anchored", () => {
  const json: ChatPrompt = { messages: [{ role: "user", content: '{"a":1}' }], tools: [] };
  expect(locate(samples.PEEKING, json, "system-then-tools")).toBeNull();
  expect(locate(samples.REPEATING, json, "system-then-tools")).toBeNull();
  expect(locate(samples.REORDERING, { messages: talk, tools: [] }, "system-then-tools")).toBeNull();
  expect(locate(samples.SYSTEM_THEN_TOOLS, { messages: talk, tools }, "tools-first")).toBeNull();
});

test("a prompt that holds private-use characters, or sentinels of ours, is anchored all the same", () => {
  const prompt: ChatPrompt = { messages: [{ role: "user", content: "\ue0000\ue000 \ue001 x" }], tools: [] };
  expect(renderedUpTo(locate(samples.TOOLS_FIRST, prompt, "tools-first"), " x")).toMatch(/ x$/);
});

const word = fc.string({ unit: "grapheme", maxLength: 30 });
const message = fc.record({
  role: fc.constantFrom("user" as const, "assistant" as const),
  content: fc.oneof(
    word,
    word.map((text) => `  ${text}\n `),
  ),
});
const cases = fc.constantFrom(
  ...([
    [samples.SYSTEM_THEN_TOOLS, "system-then-tools"],
    [samples.TOOLS_FIRST, "tools-first"],
    [samples.TOOLS_IN_LAST_USER, "tools-in-last-user"],
  ] as const),
);

test("offsets rise; every byte of a text maps to the same byte or rounds up past it", () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), fc.boolean(), cases, (messages, withTools, [source, order]) => {
      const located = locate(source, { messages, tools: withTools ? tools : [] }, order);
      if (located === null) throw new Error("not anchored");
      const { offsets, canonical, rendered } = located;
      let before = 0;
      for (let end = 0; end <= canonical.length; end += 1) {
        const place = toRenderedOffset(offsets, end);
        expect(place).toBeGreaterThanOrEqual(before);
        expect(place).toBeLessThanOrEqual(rendered.length);
        before = place;
      }
      for (const run of offsets.runs) {
        const text = canonical.subarray(run.canonicalStart, run.canonicalStart + run.byteLength);
        expect(rendered.subarray(run.renderedStart, run.renderedStart + run.byteLength).equals(text)).toBe(true);
      }
    }),
  );
});

test("prompts that share canonical bytes share the rendered bytes these anchor to, less one rounding", () => {
  const shared = { role: "system" as const, content: "shared ".repeat(40) };
  const [a, b] = ["one", "two"].map((content) =>
    locate(samples.SYSTEM_THEN_TOOLS, { messages: [shared, { role: "user", content }], tools }, "system-then-tools"),
  );
  const end = 200;
  const place = a ? toRenderedOffset(a.offsets, end) : -1;
  expect(b && toRenderedOffset(b.offsets, end)).toBe(place);
  expect(a?.rendered.subarray(0, place).equals(b?.rendered.subarray(0, place) ?? Buffer.of())).toBe(true);
});

test("a segment is anchored to the block of the token that holds its last byte", () => {
  const offsets = { runs: [{ canonicalStart: 0, renderedStart: 10, byteLength: 100 }], renderedBytes: 110 };
  const tokenEnds = Uint32Array.from({ length: 11 }, (_, index) => (index + 1) * 10);
  const anchors = anchorSegments({ ends: Uint32Array.of(1, 10, 11, 40, 70, 71, 100), offsets, tokenEnds, blockTokens: 4 });
  expect(anchors).toEqual([
    { tokens: 2, block: 0 },
    { tokens: 2, block: 0 },
    { tokens: 3, block: 0 },
    { tokens: 5, block: 1 },
    { tokens: 8, block: 1 },
  ]);
});

test("special tokens without text, and tokens that end before the prompt does", () => {
  const offsets = { runs: [{ canonicalStart: 0, renderedStart: 0, byteLength: 8 }], renderedBytes: 8 };
  expect(anchorSegments({ ends: Uint32Array.of(4, 8), offsets, tokenEnds: Uint32Array.of(0, 4, 6), blockTokens: 1 })).toEqual([
    { tokens: 2, block: 1 },
  ]);
});

test("anchorsOf names hashes and engine keys", () => {
  const template = templateOf(samples.TOOLS_FIRST);
  const prompt: ChatPrompt = { messages: [{ role: "user", content: "x".repeat(100) }], tools: [] };
  const bytes = encoder.encode(prompt, "tools-first");
  const chain = chainOf((part, seed) => xxh.h64Raw(part, seed), 1n, bytes, [{ untilBytes: null, segmentBytes: 32 }]);
  const rendered = render(template, prompt);
  const blocks = {
    tokenEnds: Uint32Array.from({ length: rendered.length }, (_, index) => index + 1),
    blockKeys: Array.from({ length: Math.floor(rendered.length / 16) }, (_, index) => `k${index}` as EngineKey),
  };
  const anchors = anchorsOf(template, prompt, "tools-first", { chain, pieces: [...encoder.pieces], rendered, ...blocks, blockTokens: 16 });
  // "<s><user>" is 9 bytes where the canonical prompt has 6: segment 1 ends at 32, that is 35 of the rendered prompt.
  expect(anchors).toEqual([
    { hash: chain.hashes[0], key: "k2", tokens: 35 },
    { hash: chain.hashes[1], key: "k4", tokens: 67 },
    { hash: chain.hashes[2], key: "k6", tokens: 99 },
  ]);
});
