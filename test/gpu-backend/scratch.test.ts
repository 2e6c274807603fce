import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { makeScratch } from "../../gpu-backend/engine/llama-cpp/scratch.ts";

const module = fileURLToPath(new URL("../../gpu-backend/engine/llama-cpp/scratch.ts", import.meta.url));

test("a scratch directory whose owner was killed is removed by the next, and that of a process that lives is not", async () => {
  const own = await makeScratch();
  const script = `const { makeScratch } = await import(${JSON.stringify(module)}); console.log(await makeScratch()); process.kill(process.pid, "SIGKILL");`;
  const killed = spawnSync(process.execPath, ["--input-type=module", "--disable-warning=ExperimentalWarning", "-e", script], {
    encoding: "utf8",
  });
  const left = killed.stdout.trim();
  expect([killed.signal, existsSync(left)]).toEqual(["SIGKILL", true]);
  const next = await makeScratch();
  try {
    expect([existsSync(left), existsSync(own)]).toEqual([false, true]);
  } finally {
    for (const made of [own, next]) rmSync(made, { recursive: true });
  }
});
