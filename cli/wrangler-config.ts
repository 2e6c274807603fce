/**
 * What wrangler.toml says of the edge, for the launcher's own workerd: the one source of its bindings, its compatibility date and its flags.
 * Only the part of TOML that this file needs is read: strings, lists of strings and booleans, a line each. Another line is an error, not a guess.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./bundle.ts";

export interface WranglerConfig {
  compatibilityDate: string;
  compatibilityFlags: string[];
  /** Durable Objects: the name of the binding and the class. */
  objects: { binding: string; className: string }[];
  /** Classes of objects that are no more, by the migrations; what they stored goes with them. */
  deletedClasses: string[];
}

type Value = string | boolean | string[];
type Table = Record<string, Value>;

/** Tables by name, in order; those of the top are named "". Throws a RangeError that names the line. */
function tablesOf(text: string): { name: string; values: Table }[] {
  const tables: { name: string; values: Table }[] = [{ name: "", values: {} }];
  for (const [at, line] of text.split("\n").entries()) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const header = /^\[{1,2}([\w.]+)\]{1,2}\s*$/.exec(line);
    const assigned = /^(\w+) = ("[^"\\]*"|\[("[^"\\]*"(, )?)*\]|true|false)\s*$/.exec(line);
    if (header !== null) tables.push({ name: header[1] ?? "", values: {} });
    else if (assigned !== null) Object.assign(tables.at(-1)?.values ?? {}, { [assigned[1] ?? ""]: JSON.parse(assigned[2] ?? "") as Value });
    else throw new RangeError(`wrangler.toml, line ${at + 1} is not understood: ${line}`);
  }
  return tables;
}

const textOf = (value: Value | undefined, key: string): string => {
  if (typeof value !== "string") throw new RangeError(`wrangler.toml has no text ${key}`);
  return value;
};
const textsOf = (value: Value | undefined): string[] => (Array.isArray(value) ? value : []);

/** Throws a RangeError where something is missing or not understood. */
export function parseWranglerConfig(text: string): WranglerConfig {
  const tables = tablesOf(text);
  const named = (name: string): Table[] => tables.flatMap((table) => (table.name === name ? [table.values] : []));
  const [top = {}] = named("");
  const objects = named("durable_objects.bindings").map(({ name, class_name: className }) => ({
    binding: textOf(name, "durable_objects.bindings.name"),
    className: textOf(className, "durable_objects.bindings.class_name"),
  }));
  const stored = named("migrations").flatMap(({ new_sqlite_classes: made }) => textsOf(made));
  for (const { className } of objects) {
    if (!stored.includes(className)) throw new RangeError(`wrangler.toml has no migration that makes ${className} with SQLite`);
  }
  return {
    compatibilityDate: textOf(top.compatibility_date, "compatibility_date"),
    compatibilityFlags: textsOf(top.compatibility_flags),
    objects,
    deletedClasses: named("migrations").flatMap(({ deleted_classes: deleted }) => textsOf(deleted)),
  };
}

/** Of this project. */
export function wranglerConfig(): WranglerConfig {
  return parseWranglerConfig(readFileSync(join(ROOT, "wrangler.toml"), "utf8"));
}
