import { forkEngine } from "./engine/llama-cpp/child.ts";
export const fork = (): unknown => forkEngine();
