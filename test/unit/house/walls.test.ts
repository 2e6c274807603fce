/** Every wall between two rooms holds: an import through it is an error, one through a door is none. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { forbiddenTo, ROOMS, withWalls } from "../../../tools/walls.ts";

const root = join(import.meta.dirname, "../../..");
const rules = readFileSync(join(root, ".oxlintrc.json"), "utf8");
const rooms = Object.keys(ROOMS);
let folder: string;
/** `FILE:LINE` of every import that is refused. */
let refused: Set<string>;

/** In each room a file with an import of every other room, a line each, in this order. */
const othersOf = (room: string): string[] => rooms.filter((other) => other !== room);
const probeOf = (room: string): string => join(room, "a/probe.ts");

const [inference, beside] = ["workers/inference/probe.ts", "workers/middleware/probe.ts"] as const;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "warmpath-walls-"));
  for (const room of rooms) {
    const file = join(folder, probeOf(room));
    mkdirSync(dirname(file), { recursive: true });
    const specifiers = othersOf(room).map((other) => relative(dirname(file), join(folder, other, "a/thing.ts")));
    writeFileSync(file, `${specifiers.map((specifier, at) => `import { thing as t${at} } from "${specifier}";`).join("\n")}\n`);
  }
  for (const file of [inference, beside]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(
      join(folder, file),
      'import { Hono } from "hono";\nimport { cors } from "hono/cors";\nimport { a } from "../../cli/a.ts";\n',
    );
  }
  const { overrides } = JSON.parse(rules) as { overrides: object[] };
  writeFileSync(join(folder, ".oxlintrc.json"), JSON.stringify({ categories: { correctness: "off" }, overrides }));
  const report = await new Promise<string>((resolve) => {
    execFile(
      join(root, "node_modules/.bin/oxlint"),
      ["--format", "unix", "-c", ".oxlintrc.json", "."],
      { cwd: folder, maxBuffer: 1 << 24 },
      (_error, stdout) => resolve(stdout),
    );
  });
  refused = new Set([...report.matchAll(/^(\S+?):(\d+):\d+:.*no-restricted-imports/gm)].map(([, file, line]) => `${file}:${line}`));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the linter's file is made from the table", () => {
  expect(JSON.parse(rules)).toEqual(JSON.parse(withWalls(rules)));
});

test.each(rooms)("%s may import what the table says, and nothing else", (room) => {
  const found = othersOf(room).filter((_, at) => refused.has(`${probeOf(room)}:${at + 1}`));
  expect(found).toEqual(forbiddenTo(room));
});

test("workers/inference has the walls of workers, and may not import hono", () => {
  const found = [inference, beside].map((file) => [1, 2, 3].filter((line) => refused.has(`${file}:${line}`)));
  expect(found).toEqual([[1, 2, 3], [3]]);
});
