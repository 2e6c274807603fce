/**
 * Which tools of a messages request are before the model, and from where on. A tool with `defer_loading` stays out of the prompt until a
 * `tool_reference` or `tool_addition` names it. Its definition is then text at that very place, so that all before is the same prefix as in
 * the request before; from there on it can be called. `tool_removal` takes one back.
 */
import type { Tool } from "../prefix/prompt.ts";
import { clip, Refused, refuse } from "./check.ts";
import type { GivenTool } from "./responses-tools.ts";

export interface DeclaredTools {
  given: readonly GivenTool[];
  /** Names of those that are deferred. */
  deferred: ReadonlySet<string>;
  /** Names of tools that others host: declared, but never here. */
  hosted: ReadonlySet<string>;
}

export class OfferedTools {
  readonly #hosted: ReadonlySet<string>;
  readonly #known: Map<string, GivenTool>;
  /** At the prompt's own place for tools. */
  readonly atStart: readonly Tool[];
  readonly #later = new Map<string, Tool>();
  readonly #removed = new Set<string>();

  constructor({ given, deferred, hosted }: DeclaredTools) {
    this.#hosted = hosted;
    this.#known = new Map(given.map((one) => [one.tool.function.name, one]));
    this.atStart = given.filter(({ tool }) => !deferred.has(tool.function.name)).map(({ tool }) => tool);
  }

  /** Whose definitions stand in messages. */
  get later(): readonly Tool[] {
    return [...this.#later.values()];
  }

  /** All that have been before the model, also what was removed. */
  get schemaPaths(): ReadonlyMap<string, string> {
    return new Map([...this.#known].map(([name, { schemaAt }]) => [name, schemaAt]));
  }

  /** That can be called at the end. */
  get callable(): readonly Tool[] {
    return [...this.atStart, ...this.later].filter((tool) => !this.#removed.has(tool.function.name));
  }

  /** Names of those; null = all that have been before the model. */
  get allowed(): readonly string[] | null {
    return this.#removed.size === 0 ? null : this.callable.map((tool) => tool.function.name);
  }

  /** What the model reads where a tool is named. `at`: of the name. */
  offer(name: string, at: string): string {
    const tool = this.#known.get(name)?.tool;
    if (tool === undefined) {
      if (this.#hosted.has(name)) return `The tool ${name} cannot be called here.`;
      throw new Refused(refuse(at, `is '${clip(name)}', which names no tool in \`tools\`; add its definition or change the name.`));
    }
    const isBack = this.#removed.delete(name);
    const isKnown = this.#later.has(name) || this.atStart.includes(tool);
    if (isKnown) return `The tool ${name} can be called${isBack ? " again" : ""}.`;
    this.#later.set(name, tool);
    return `This tool can be called from now on: ${JSON.stringify({ type: "function", function: tool.function })}`;
  }

  /** A tool that is defined where it is added. */
  define(given: GivenTool): string {
    const { name } = given.tool.function;
    // The same name with another definition is another tool from here on.
    this.#later.delete(name);
    this.#known.set(name, given);
    return this.offer(name, given.schemaAt);
  }

  remove(name: string, at: string): string {
    if (!this.#known.has(name) && !this.#hosted.has(name)) {
      throw new Refused(refuse(at, `is '${clip(name)}', which names no tool that was there; change the name.`));
    }
    this.#removed.add(name);
    return `The tool ${name} cannot be called any more.`;
  }
}
