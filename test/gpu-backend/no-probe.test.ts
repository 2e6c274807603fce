/** An engine's process is the only one that a start takes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { endedEarly } from "../../gpu-backend/engine/llama-cpp/child.ts";
import { PROBE } from "../../gpu-backend/engine/llama-cpp/no-probe.ts";
import { startDemo } from "./engine-runs.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ASK = `
  const file = new URL("../${PROBE}", import.meta.resolve("node-llama-cpp"));
  const { testBindingBinary } = await import(file.href);
  process.stdout.write(String(await testBindingBinary("/no/such/binary.node", undefined, false).catch(() => false)));
`;

it("node-llama-cpp takes its binary as it is, and asks no process", () => {
  const flags = ["--import", new URL("../../gpu-backend/engine/llama-cpp/no-probe.ts", import.meta.url).href];
  const said = (more: readonly string[]): string =>
    execFileSync(process.execPath, [...more, "--input-type=module", "--eval", ASK], { cwd: ROOT, encoding: "utf8" });
  expect([said(flags), said([])]).toEqual(["true", "false"]);
});

it("an engine's process is started so", async () => {
  const engine = await startDemo({ sequences: 1 });
  try {
    expect(readFileSync(`/proc/${engine.processId}/cmdline`, "utf8").split("\0")).toContainEqual(expect.stringMatching(/\/no-probe\.ts$/));
  } finally {
    await engine.close();
  }
});

it("an engine that its processor ends at the start says that its binary may not fit", () => {
  expect(endedEarly("SIGILL")).toBe("the engine's process ended while it started (SIGILL): its binary may not fit this machine");
  expect(endedEarly("SIGTERM")).toBe("the engine's process ended while it started (SIGTERM)");
  expect(endedEarly(null)).toBe("the engine's process ended while it started");
});
