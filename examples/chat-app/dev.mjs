/**
 * Runs the app on this machine, beside a Warmpath that `npm start` began: its address and key are written to .dev.vars, which git
 * ignores. A .dev.vars of your own stays as it is.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const STATE = process.env.WARMPATH_STATE ?? "../../.warmpath";
const wrangler = createRequire(import.meta.url)
  .resolve("wrangler/package.json")
  .replace(/package\.json$/, "bin/wrangler.js");

const MARK = "# Written by dev.mjs at each start.\n";
const isOwn = existsSync(".dev.vars") && !readFileSync(".dev.vars", "utf8").startsWith(MARK);
if (isOwn) {
  console.log("The address and the key are those of .dev.vars.");
} else if (existsSync(`${STATE}/dev.json`)) {
  const { url, apiKey } = JSON.parse(readFileSync(`${STATE}/dev.json`, "utf8"));
  writeFileSync(".dev.vars", `${MARK}WARMPATH_URL="${url}"\nWARMPATH_KEY="${apiKey}"\n`, { mode: 0o600 });
} else {
  console.error(`No Warmpath runs on this machine (${STATE}/dev.json): start one with "npm start" in its folder.`);
  console.error("Or copy .dev.vars.example to .dev.vars, and name another one there.");
  process.exit(1);
}
const child = spawn(process.execPath, [wrangler, "dev", "--port", process.env.PORT ?? "8788", ...process.argv.slice(2)], {
  stdio: "inherit",
});
child.on("exit", (code) => process.exit(code ?? 1));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
