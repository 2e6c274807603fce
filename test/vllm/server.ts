/** Starts the vLLM of all files, and ends whichever of its lives is the last. */
import type { TestProject } from "vitest/node";
import { killVllm, setupOf, startVllm, type VllmSetup } from "./vllm-process.ts";

declare module "vitest" {
  export interface ProvidedContext {
    vllm: VllmSetup;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const made = await setupOf(process.env);
  if ("missing" in made) throw new Error(made.missing);
  await startVllm(made);
  project.provide("vllm", made);
  return () => killVllm(made);
}
