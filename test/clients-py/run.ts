/** `npm run test:clients-py`: the official Python SDKs and the vendors' OpenAPI documents against the started product. Needs python3 and PyPI. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeResult } from "../bench/result.ts";
import { startProduct } from "../e2e/started.ts";

const root = join(import.meta.dirname, "../..");
const venv = join(root, "node_modules/.cache/warmpath-clients-py");
const python = join(venv, "bin/python");

interface Check {
  name: string;
  problems: string[];
}

if (!existsSync(python)) execFileSync("python3", ["-m", "venv", venv], { stdio: "inherit" });
execFileSync(python, ["-m", "pip", "install", "--quiet", "-r", join(import.meta.dirname, "requirements.txt")], { stdio: "inherit" });
const product = await startProduct({ replicas: 2, extraArgs: ["--pools", "2"] });
try {
  const environment = {
    ...process.env,
    WARMPATH_URL: product.url,
    WARMPATH_KEY: product.apiKey,
    WARMPATH_MODEL: product.model,
    PYTHONDONTWRITEBYTECODE: "1",
  };
  const output = execFileSync(python, ["check.py"], { cwd: import.meta.dirname, env: environment, encoding: "utf8", timeout: 300_000 });
  const { checks } = JSON.parse(output) as { checks: Check[] };
  writeResult("clients-py", { requirements: "test/clients-py/requirements.txt" }, checks);
  for (const { name, problems } of checks)
    process.stdout.write(`${problems.length === 0 ? "ok  " : "FAIL"} ${name} ${problems.join(" · ")}\n`);
  const failed = checks.filter(({ problems }) => problems.length > 0).length;
  process.stdout.write(`${checks.length - failed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  await product.stop();
}
