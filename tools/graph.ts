/**
 * The import graph of the product, file by file: test/unit/house/graph.test.ts finds circles and imports that run back up in it.
 *   npm run graph        draws it, a room a node, as Mermaid
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ROOMS } from "./walls.ts";

const ROOT = dirname(import.meta.dirname);
const PRODUCT = ["src", "simulator", "workers", "gpu-backend", "cli"];

/** By file, relative to the root: the files of the product that it imports, types too. */
export type Graph = ReadonlyMap<string, readonly string[]>;

const IMPORT = /^\s*(?:import|export)\b(?<types> type\b)?[^;"']*?\bfrom "(\.[^"]+)"|^\s*import "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm;

/** Files of the product, with their text; what is built is none. */
export function productFiles(): ReadonlyMap<string, string> {
  const files = PRODUCT.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.tsx?$/.test(name) && !name.endsWith(".d.ts"))
      .map((name) => `${folder}/${name}`),
  );
  return new Map(files.toSorted().map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));
}

/** @param types whether imports of types alone are in it: they are erased, so a circle of them is none when the modules load. */
export function importGraph(files: ReadonlyMap<string, string>, types: boolean): Graph {
  return new Map(
    [...files].map(([file, text]) => {
      const imports = [...text.matchAll(IMPORT)].filter(({ groups }) => types || groups?.types === undefined);
      const specifiers = imports.map(([, , from, plain, late]) => from ?? plain ?? late ?? "");
      const imported = specifiers.map((specifier) => relative(ROOT, join(ROOT, dirname(file), specifier)));
      return [file, [...new Set(imported)].filter((other) => files.has(other))];
    }),
  );
}

/** The room of a file: the longest of the table that it lies in; null: it is open to all. */
export function roomOf(file: string): string | null {
  const rooms = Object.keys(ROOMS).filter((room) => file.startsWith(`${room}/`));
  return rooms.toSorted((left, right) => right.length - left.length)[0] ?? null;
}

/** Imports of other rooms: "src/router → src/pool", with the number of files that do. */
export function roomEdges(graph: Graph): ReadonlyMap<string, number> {
  const edges = new Map<string, number>();
  for (const [file, imported] of graph) {
    const room = roomOf(file);
    for (const other of new Set(imported.map(roomOf))) {
      if (room === null || other === null || room === other) continue;
      const edge = `${room} → ${other}`;
      edges.set(edge, (edges.get(edge) ?? 0) + 1);
    }
  }
  return edges;
}

/** Files that import each other in a circle, each circle once, as the path that closes it. */
export function circles(graph: Graph): string[][] {
  const done = new Set<string>();
  const found: string[][] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) {
      found.push([...path.slice(at), file]);
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

if (process.argv[1] === import.meta.filename) {
  const lines = [...roomEdges(importGraph(productFiles(), true))].map(([edge, files]) => {
    const [from = "", to = ""] = edge.split(" → ");
    return `  ${from.replaceAll("/", "_")}["${from}"] -- ${files} --> ${to.replaceAll("/", "_")}["${to}"]`;
  });
  process.stdout.write(`graph TD\n${lines.join("\n")}\n`);
}
