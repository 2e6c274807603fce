import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Template } from "@huggingface/jinja";
import { getLlama } from "node-llama-cpp";
import { describe, expect, it } from "vitest";
import { chatMlTemplate } from "../../gpu-backend/engine/llama-cpp/chat-template.ts";
import { encodeDemoModel, ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { toHalfBits } from "../../gpu-backend/engine/llama-cpp/demo-model/gguf.ts";

const render = (values: Record<string, unknown>) => new Template(chatMlTemplate).render({ add_generation_prompt: true, ...values });

describe("demo model", () => {
  it("is built once, with the same bytes every time, and loads", async () => {
    const directory = await mkdtemp(path.join(tmpdir(), "warmpath-demo-"));
    try {
      const [first, second] = await Promise.all([ensureDemoModel(directory), ensureDemoModel(directory)]);
      expect(second).toBe(first);
      expect(await readdir(directory)).toEqual([path.basename(first)]);
      expect(encodeDemoModel().equals(await readFile(first))).toBe(true);
      // When only the second line differs, raise recipeVersion: models built before would go on under the same name.
      expect(path.basename(first)).toBe("warmpath-demo-394a84eafe84.gguf");
      expect(createHash("sha256").update(encodeDemoModel()).digest("hex")).toBe(
        "c3269da214a50bb3d6035d3eb0e77d6b78324d879793c9259f5f6d6a8646c65b",
      );
      const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, progressLogs: false });
      const model = await llama.loadModel({ modelPath: first });
      const text = "Grüße 🙂 <|im_start|> function(x) {\r\n  return 42; }";
      expect(model.detokenize(model.tokenize(text, true), true)).toBe(text);
      expect(model.trainContextSize).toBe(32_768);
      await llama.dispose();
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("rounds to half precision", () => {
    expect([0, 1, -2, 0.1, 65_504, 1e6].map(toHalfBits)).toEqual([0, 0x3c00, 0xc000, 0x2e66, 0x7bff, 0x7c00]);
  });
});

describe("chat template", () => {
  it("puts system and tools first", () => {
    const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" },
    ];
    const text = render({ messages, tools });
    expect(text.startsWith("<|im_start|>system\nBe brief.\n\n# Tools\n{")).toBe(true);
    expect(text.endsWith("<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")).toBe(true);
    expect(render({ messages })).toBe("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  });

  it("renders parts, tool calls and tool results", () => {
    const messages = [
      { role: "user", content: [{ type: "text", text: "a" }, { type: "image_url" }, { type: "text", text: "b" }] },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ function: { name: "f", arguments: '{"x":1}' } }, { function: { name: "g", arguments: { y: 2 } } }],
      },
      { role: "tool", content: "7" },
    ];
    expect(render({ messages, add_generation_prompt: false })).toBe(
      "<|im_start|>user\na[image_url]b<|im_end|>\n" +
        '<|im_start|>assistant\n<tool_call>{"name": "f", "arguments": {"x":1}}</tool_call><tool_call>{"name": "g", "arguments": {"y": 2}}</tool_call><|im_end|>\n' +
        "<|im_start|>tool\n7<|im_end|>\n",
    );
  });
});
