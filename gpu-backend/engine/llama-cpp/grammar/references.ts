/** Local references of a schema: what they name, and whether that can come back to itself. */
import { refuse } from "./keywords.ts";

interface Reference {
  pointer: string;
  schema: unknown;
  recursive: boolean;
}

/** All `$ref`s anywhere inside a schema. */
function referencesIn(schema: unknown, found = new Set<string>()): Set<string> {
  if (typeof schema !== "object" || schema === null) return found;
  for (const [key, value] of Object.entries(schema)) {
    if (key === "$ref" && typeof value === "string") found.add(value);
    // Definitions count where they are used.
    else if (key !== "$defs" && key !== "definitions") referencesIn(value, found);
  }
  return found;
}

function unescape(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return part;
  }
}

export class References {
  readonly #root: unknown;
  readonly #known = new Map<string, Reference>();
  readonly #inside = new Map<string, ReadonlySet<string>>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /** Undefined for what is not local or not there. */
  find(pointer: unknown, path: string): Reference | undefined {
    if (typeof pointer !== "string") return refuse(path, "must be a text");
    const known = this.#known.get(pointer);
    if (known !== undefined) return known;
    const schema = this.#resolve(pointer);
    if (schema === undefined) return undefined;
    const found = { pointer, schema, recursive: this.#reaches(pointer) };
    this.#known.set(pointer, found);
    return found;
  }

  #resolve(pointer: string): unknown {
    if (pointer === "#") return this.#root;
    if (!pointer.startsWith("#/")) return undefined;
    let value = this.#root;
    for (const part of pointer.slice(2).split("/").map(unescape)) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
      value = Reflect.get(value, part);
    }
    return value;
  }

  #referencesIn(pointer: string): ReadonlySet<string> {
    let inside = this.#inside.get(pointer);
    if (inside === undefined) this.#inside.set(pointer, (inside = referencesIn(this.#resolve(pointer))));
    return inside;
  }

  #reaches(pointer: string): boolean {
    const seen = new Set<string>();
    const open = [...this.#referencesIn(pointer)];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next === pointer) return true;
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...this.#referencesIn(next));
    }
    return false;
  }
}
