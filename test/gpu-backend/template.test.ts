import { expect, test } from "vitest";
import { chatMlTemplate } from "../../gpu-backend/engine/llama-cpp/chat-template.ts";
import { ChatTemplate } from "../../gpu-backend/template.ts";
import * as samples from "./template-samples.ts";
import { render, templateOf } from "./template-samples.ts";

test.each([
  ["SYSTEM_THEN_TOOLS", samples.SYSTEM_THEN_TOOLS, "system-then-tools"],
  ["TOOLS_FIRST", samples.TOOLS_FIRST, "tools-first"],
  ["TOOLS_IN_LAST_USER", samples.TOOLS_IN_LAST_USER, "tools-in-last-user"],
  ["WITH_DATE", samples.WITH_DATE, null],
  ["REORDERING", samples.REORDERING, null],
  ["COUNTING", samples.COUNTING, null],
  ["REPEATING", samples.REPEATING, null],
  ["PEEKING", samples.PEEKING, "system-then-tools"],
] as const)("%s is laid out in its order", (_, source, order) => {
  expect(templateOf(source).findTemplateOrder()).toBe(order);
});

test("the demo model's template", () => {
  expect(templateOf(chatMlTemplate).findTemplateOrder()).toBe("system-then-tools");
});

test("renders messages, tools, calls and special tokens", () => {
  const tools = [{ type: "function" as const, function: { name: "f" } }];
  expect(render(templateOf(samples.TOOLS_FIRST), { messages: [{ role: "user", content: "hi" }], tools })).toBe(
    '<s>[TOOLS]{"name": "f"}[/TOOLS]<user>hi<assistant>',
  );
  const calls = [{ id: "1", type: "function" as const, function: { name: "f", arguments: '{"a":1}' } }];
  expect(
    render(
      templateOf(samples.SYSTEM_THEN_TOOLS),
      { messages: [{ role: "assistant", content: null, tool_calls: calls }], tools: [] },
      false,
    ),
  ).toBe('<|im_start|>assistant\n<tool_call>f {"a":1}</tool_call><|im_end|>\n');
});

test("parts become a string where the template reads only strings, and stay parts where it reads them", () => {
  const content = [
    { type: "text" as const, text: "a" },
    { type: "image_url" as const, image_url: { url: "u" } },
    { type: "text" as const, text: "b" },
  ];
  const prompt = { messages: [{ role: "user" as const, content }], tools: [] };
  expect(render(templateOf(samples.SYSTEM_THEN_TOOLS), prompt, false)).toBe("<|im_start|>user\na\n<image_url>\nb<|im_end|>\n");
  expect(render(templateOf(samples.TOOLS_FIRST), prompt, false)).toBe("<s><user>a<image>b");
  const partsOnly = "{%- for message in messages %}{%- for part in message.content %}{{- part.text }}{%- endfor %}{%- endfor %}";
  expect(render(templateOf(partsOnly), { messages: [{ role: "user", content: "hi" }], tools: [] })).toBe("hi");
});

test("developer is system, unless the template knows it", () => {
  const prompt = { messages: [{ role: "developer" as const, content: "x" }], tools: [] };
  expect(render(templateOf(samples.TOOLS_FIRST), prompt, false)).toBe("<s><system>x");
  expect(render(templateOf(`${samples.TOOLS_FIRST}{# developer #}`), prompt, false)).toBe("<s><developer>x");
});

test("a refusal of the template and a broken template are values", () => {
  const prompt = { messages: [{ role: "system" as const, content: "x" }], tools: [] };
  expect(templateOf(samples.TOOLS_IN_LAST_USER).render(prompt)).toEqual({ ok: false, message: "System role not supported" });
  expect(ChatTemplate.parse("{% if %}")).toMatchObject({ message: expect.stringMatching(/not valid Jinja/) });
});

test.each([
  ["none", "effort none, thinking off"],
  ["high", "effort high, thinking on"],
  [null, "no effort"],
] as const)("a template reads the effort %s", (effort, text) => {
  const template = ChatTemplate.parse(
    "{% if reasoning_effort %}effort {{ reasoning_effort }}, thinking {{ 'on' if enable_thinking else 'off' }}{% else %}no effort{% endif %}",
  );
  if (!(template instanceof ChatTemplate)) throw new Error(template.message);
  expect(template.withReasoning(effort).render({ messages: [{ role: "user", content: "x" }], tools: [] })).toEqual({ ok: true, text });
});

test.each([
  ["TOOLS_FIRST", samples.TOOLS_FIRST],
  ["SYSTEM_THEN_TOOLS", samples.SYSTEM_THEN_TOOLS],
  ["TOOLS_IN_LAST_USER", samples.TOOLS_IN_LAST_USER],
] as const)("%s leaves an assistant's last message open, white space and all", (_, source) => {
  const template = templateOf(source);
  const user = { role: "user" as const, content: "hi" };
  for (const content of ["Once upon ", "{", ""]) {
    const open = render(template, { messages: [user, { role: "assistant", content }], tools: [] });
    expect(open.endsWith(content)).toBe(true);
    const whole = render(template, { messages: [user, { role: "assistant", content: `${content}XYZ` }], tools: [] }, false);
    expect(whole.startsWith(`${open}XYZ`)).toBe(true);
  }
  const parts = [{ type: "text" as const, text: "Once" }];
  expect(render(template, { messages: [user, { role: "assistant", content: parts }], tools: [] }).endsWith("Once")).toBe(true);
});

test("a template that drops the assistant's last message can't go on with it", () => {
  const template = templateOf("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}");
  const rendered = template.render({
    messages: [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
    ],
    tools: [],
  });
  expect(rendered).toMatchObject({ ok: false });
});
