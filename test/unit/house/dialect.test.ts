/** One way to write what can be written in several (docs/architecture.md, "How code is written"). */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const sourcesOf = (...rooms: string[]): { file: string; text: string }[] =>
  globSync(
    rooms.map((room) => `${room}/**/*.ts`),
    { cwd: ROOT },
  ).map((file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }));

test("a bound in gpu-backend is named MAX_ or MIN_", () => {
  const sources = sourcesOf("gpu-backend");
  expect(sources.length).toBeGreaterThan(100);
  const found = sources.flatMap(({ file, text }) => (text.match(/\bconst (?:MOST|LEAST)_\w+/g) ?? []).map((bound) => `${file}: ${bound}`));
  expect(found).toEqual([]);
});

test("a file of gpu-backend, the simulator, the core or the command line imports a module once", () => {
  const found = sourcesOf("gpu-backend", "simulator", "src", "cli").flatMap(({ file, text }) => {
    const modules = [...text.matchAll(/^import (?:type )?\{[^}]*\} from "([^"]*)";$/gm)].map(([, module = ""]) => module);
    return modules.filter((module, at) => modules.indexOf(module) !== at).map((module) => `${file}: ${module}`);
  });
  expect(found).toEqual([]);
});
