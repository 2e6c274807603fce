/** A model whose chat template cannot run: its replica does not begin. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { chatMlTemplate } from "../../gpu-backend/engine/llama-cpp/chat-template.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { modelDirectory } from "./engine-runs.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "warmpath-template-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** The demo model with another template of the same length. */
async function modelWith(template: string): Promise<string> {
  const bytes = await readFile(await ensureDemoModel(modelDirectory));
  const own = Buffer.from(chatMlTemplate);
  const at = bytes.indexOf(own);
  if (at === -1) throw new Error("the model has no such template");
  bytes.write(template.padEnd(own.length), at);
  const file = path.join(directory, "model.gguf");
  await writeFile(file, bytes);
  return file;
}

it.each([
  ["takes no conversation", "{{ raise_exception('only for images') }}", "only for images"],
  ["needs what jinja here does not have", "{{ messages | no_such_filter }}", "no_such_filter"],
  ["is no jinja", "{% for m in messages %}", "not valid Jinja"],
  ["leaves out what is said", "Hello.", "what a user says does not appear"],
])("a template that %s is found at the start", async (_, template, why) => {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "gpu-backend/main.ts"], {
    env: {
      ...process.env,
      WARMPATH_JOIN: "ws://127.0.0.1:9/announce/default",
      WARMPATH_JOIN_TOKEN: "no-such-token",
      WARMPATH_REPLICA: "r",
      WARMPATH_MODEL: await modelWith(template),
      WARMPATH_CONTEXT_TOKENS: "512",
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  expect(await once(child, "exit")).toEqual([1, null]);
  expect(said).toMatch(/chat template/);
  expect(said).toContain(why);
});
