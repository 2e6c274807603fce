/** What `npm ci` brings: enough for `npm start`, and nothing of another machine. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
const json = (name: string): unknown => JSON.parse(readFileSync(join(root, name), "utf8"));

interface Locked {
  os?: string | string[];
  cpu?: string | string[];
  libc?: string | string[];
  link?: boolean;
}
const { packages } = json("package-lock.json") as { packages: Record<string, Locked> };
const manifest = json("package.json") as Record<"dependencies" | "devDependencies" | "optionalDependencies", Record<string, string>>;

/** npm takes a name where a list of one is meant, and "!name" for all others. */
const allows = (stated: string | string[] | undefined, value: string): boolean => {
  const list = stated === undefined ? [] : [stated].flat();
  if (list.length === 0) return true;
  return list.some((each) => each.startsWith("!")) ? !list.includes(`!${value}`) : list.includes(value);
};

test.each([
  { cpu: "x64", foreign: /arm|riscv|ppc|s390|ia32|loong|mips|darwin|mac-|win32|win-|android|bsd|musl|cuda|vulkan|metal/ },
  { cpu: "arm64", foreign: /x64|armv|arm-|riscv|ppc|s390|ia32|loong|mips|darwin|mac-|win32|win-|android|bsd|musl|cuda|vulkan|metal/ },
])("on Linux with glibc and $cpu, no binary of another machine is installed", ({ cpu, foreign }) => {
  const installed = Object.entries(packages)
    .filter(([, { os, cpu: cpus, libc, link }]) => !link && allows(os, "linux") && allows(cpus, cpu) && allows(libc, "glibc"))
    .map(([path]) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length));
  expect(installed).toContain("node-llama-cpp");
  expect(installed.filter((name) => foreign.test(name))).toEqual([]);
});

test("what `npm start` imports stands under dependencies", () => {
  const sources = ["src", "workers", "gpu-backend", "cli", "tools"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter(({ name, parentPath }) => /\.tsx?$/.test(name) && !name.endsWith(".d.ts") && !parentPath.includes("/built"))
      .map(({ parentPath, name }) => readFileSync(join(parentPath, name), "utf8")),
  );
  const imported = sources.flatMap((source) =>
    [
      ...source.matchAll(
        /^(?:import|export) (?!type )[^;=(]*?from "([^"]+)"|^import "([^"]+)"|\b(?:import|require\.resolve)\("([^"]+)"\)/gm,
      ),
    ].map(([, from, effect, called]) => from ?? effect ?? called ?? ""),
  );
  const names = new Set(
    imported
      .filter((specifier) => /^[@a-z]/.test(specifier) && !/^(?:node|cloudflare):/.test(specifier))
      .map((specifier) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")),
  );
  expect([...names]).toEqual(expect.arrayContaining(["wrangler", "esbuild", "preact", "hono", "node-llama-cpp"]));
  expect([...names].filter((name) => name in manifest.devDependencies)).toEqual([]);
  // What only some need is asked for where it is used.
  const { dependencies, optionalDependencies } = manifest;
  expect([...names].filter((name) => !(name in dependencies || name in optionalDependencies))).toEqual([]);
});
