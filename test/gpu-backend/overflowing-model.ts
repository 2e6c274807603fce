/** A model that overflows: the demo model, but the embedding of one token is not a number, so that KV computed behind it isn't either. */
import { open, copyFile } from "node:fs/promises";
import path from "node:path";
import { readGgufFileInfo } from "node-llama-cpp";
import { demoShape, ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { modelDirectory } from "./engine-runs.ts";

/** One token of the model; no other prompt has it. */
export const OVERFLOWS = "<tool_call>";
const Q8_BLOCK_BYTES = 34;

/** Path of the model. */
export async function ensureOverflowingModel(directory: string): Promise<string> {
  const good = await ensureDemoModel(modelDirectory);
  const info = await readGgufFileInfo(good, { readTensorInfo: true, logWarnings: false });
  const embedding = (info.fullTensorInfo ?? []).find(({ name }) => name === "token_embd.weight");
  if (embedding === undefined) throw new Error("no embedding in the model");
  const rowBytes = (demoShape.width / 32) * Q8_BLOCK_BYTES;
  const token = info.metadata.tokenizer.ggml.tokens.indexOf(OVERFLOWS);
  const file = path.join(directory, "overflows.gguf");
  await copyFile(good, file);
  const handle = await open(file, "r+");
  try {
    const scale = Buffer.from([0x00, 0x7e]);
    for (let at = 0; at < rowBytes; at += Q8_BLOCK_BYTES)
      await handle.write(scale, 0, 2, Number(embedding.fileOffset) + token * rowBytes + at);
  } finally {
    await handle.close();
  }
  return file;
}
