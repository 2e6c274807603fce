/** The adapter as a replica opens it. */
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { chatMlTemplate } from "../../gpu-backend/engine/llama-cpp/chat-template.ts";
import { openEngine } from "../../gpu-backend/engine/open-engine.ts";

export async function templateFile(): Promise<string> {
  const file = path.join(tmpdir(), `warmpath-test-template-${process.pid}.jinja`);
  await writeFile(file, chatMlTemplate);
  return file;
}

export async function openAdapter({ url }: { url: string }, settings: Readonly<Record<string, string>> = {}): Promise<Engine> {
  const opened = await openEngine({
    WARMPATH_ENGINE: "openai",
    WARMPATH_ENGINE_URL: url,
    WARMPATH_CHAT_TEMPLATE: await templateFile(),
    ...settings,
  });
  if (opened.type !== "opened") throw new Error(opened.message);
  return opened.engine;
}
