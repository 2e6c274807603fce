/** What each file of the product exports, and who imports it: test/unit/house/exports.test.ts finds exports that no other file imports. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const ROOT = dirname(import.meta.dirname);
/** What may import from the product besides the product itself. */
const OTHERS = ["test", "tools"];

const DECLARED =
  /^export (?:declare )?(?:default )?(?:async )?(?:abstract )?(?:function\*?|const enum|const|let|class|interface|type|enum) (\w+)/gm;
const LISTED = /^export (?:type )?\{([^}]*)\}/gm;
const TAKEN = /^\s*(?:import|export)\b(?: type)?\s+(?:(?<all>\*[^;"']*?)|(?:\w+,\s*)?\{(?<names>[^}]*)\})\s*from\s*"(?<from>\.[^"]+)"/gm;
const LATE = /\bimport\("(\.[^"]+)"\)(?:\.(\w+))?/g;

/** The names in `a, type b as c`: what each is called there, and what it is called outside. */
function listed(text: string): { inside: string; outside: string }[] {
  return text
    .split(",")
    .map((part) =>
      part
        .replace(/\/\*.*?\*\//gs, "")
        .trim()
        .replace(/^type /, ""),
    )
    .filter((part) => part !== "")
    .map((part) => {
      const [inside = "", outside = inside] = part.split(/\s+as\s+/);
      return { inside, outside };
    });
}

/** Files of the tests and tools, with their text; declarations of types for a whole file are none. */
export function otherFiles(): ReadonlyMap<string, string> {
  const files = OTHERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.tsx?$/.test(name) && !/\.d\.ts$|node_modules/.test(name))
      .map((name) => `${folder}/${name}`),
  );
  return new Map(files.map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));
}

/** Names that `text` exports. */
export function exportsOf(text: string): string[] {
  const declared = [...text.matchAll(DECLARED)].map(([, name = ""]) => name);
  const lists = [...text.matchAll(LISTED)].flatMap(([, names = ""]) => listed(names).map(({ outside }) => outside));
  return [...new Set([...declared, ...lists])];
}

/** `file name` of everything that `files` import by name; `file *` where a file is imported whole. */
export function importedNames(files: ReadonlyMap<string, string>): ReadonlySet<string> {
  const taken = new Set<string>();
  for (const [file, text] of files) {
    const target = (specifier: string): string => relative(ROOT, join(ROOT, dirname(file), specifier));
    for (const { groups } of text.matchAll(TAKEN)) {
      const from = target(groups?.from ?? "");
      if (groups?.all !== undefined) taken.add(`${from} *`);
      for (const { inside } of listed(groups?.names ?? "")) taken.add(`${from} ${inside}`);
    }
    for (const [, from = "", name = "*"] of text.matchAll(LATE)) taken.add(`${target(from)} ${name === "then" ? "*" : name}`);
  }
  return taken;
}

/** `file name` of what `product` exports and no other file of `product` or `others` imports. */
export function unusedExports(product: ReadonlyMap<string, string>, others: ReadonlyMap<string, string>): string[] {
  const taken = importedNames(new Map([...product, ...others]));
  return [...product].flatMap(([file, text]) =>
    exportsOf(text)
      .map((name) => `${file} ${name}`)
      .filter((name) => !taken.has(name) && !taken.has(`${file} *`)),
  );
}
