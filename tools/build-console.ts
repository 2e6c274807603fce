/**
 * The console's page as one module of the edge: its script bundled, its other files as text. wrangler runs this before it bundles
 * (`[build]` in wrangler.toml), and vitest before the tests in workerd.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const CONSOLE = join(dirname(import.meta.dirname), "workers/console");
const PAGE = join(CONSOLE, "page");
const BUILT = join(CONSOLE, "built/files.js");

async function script(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(PAGE, "page.tsx")],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2023",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "inline",
  });
  return outputFiles.map(({ text }) => text).join("");
}

const file = (type: string, text: string) => ({ type, etag: `"${createHash("sha256").update(text).digest("hex").slice(0, 16)}"`, text });
const read = (name: string): string => readFileSync(join(PAGE, name), "utf8");

/** Several may build at once, and whoever reads finds a whole file. An unchanged one is left alone, so that nobody who watches it wakes. */
export async function buildConsole(): Promise<void> {
  const files = {
    "/": file("text/html; charset=utf-8", read("index.html")),
    "/console/page.js": file("text/javascript; charset=utf-8", await script()),
    "/console/page.css": file("text/css; charset=utf-8", read("page.css")),
    "/console/icon.svg": file("image/svg+xml", read("icon.svg")),
  };
  const text = `export const FILES = ${JSON.stringify(files)};\n`;
  mkdirSync(dirname(BUILT), { recursive: true });
  try {
    if (readFileSync(BUILT, "utf8") === text) return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const unfinished = `${BUILT}.${randomUUID().slice(0, 8)}`;
  writeFileSync(unfinished, text);
  renameSync(unfinished, BUILT);
}

if (process.argv[1] === import.meta.filename) await buildConsole();
