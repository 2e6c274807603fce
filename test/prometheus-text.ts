/** A parser of Prometheus's text format as strict as Prometheus's own (github.com/prometheus/common, expfmt): what that one refuses is thrown here. */

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"/;
const NUMBER = /^(?:[+-]?Inf|NaN|[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)$/i;
const TYPES: ReadonlySet<string> = new Set(["counter", "gauge", "histogram", "summary", "untyped"]);

class Page {
  readonly samples: Sample[] = [];
  readonly #said = { HELP: new Set<string>(), TYPE: new Set<string>() };
  readonly #series = new Set<string>();
  /** Families whose lines are over: another family's have come. */
  readonly #closed = new Set<string>();
  #current = "";

  describe(word: "HELP" | "TYPE", name: string, rest: string): void {
    if (NAME.exec(name)?.[0] !== name) throw new Error(`no metric's name: ${name}`);
    if (this.#said[word].has(name)) throw new Error(`second ${word} line for metric name ${name}`);
    this.#said[word].add(name);
    if (word === "TYPE" && !TYPES.has(rest)) throw new Error(`unknown metric type ${rest}`);
    if (word === "HELP" && /\\(?![\\n])/.test(rest)) throw new Error(`invalid escape sequence: ${rest}`);
    this.#turnTo(name);
  }

  add(sample: Sample): void {
    this.#turnTo(sample.name);
    if (this.#closed.has(sample.name)) throw new Error(`the samples of ${sample.name} do not stand together`);
    if (!this.#said.TYPE.has(sample.name)) throw new Error(`${sample.name} has no type`);
    const key = JSON.stringify([
      sample.name,
      Object.entries(sample.labels)
        .map((label) => label.join("="))
        .toSorted(),
    ]);
    if (this.#series.has(key)) throw new Error(`a series stands twice: ${key}`);
    this.#series.add(key);
    this.samples.push(sample);
  }

  #turnTo(name: string): void {
    if (name !== this.#current) this.#closed.add(this.#current);
    this.#current = name;
  }
}

export function parsePrometheus(text: string): Sample[] {
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line has no end");
  const page = new Page();
  for (const line of text.split("\n").slice(0, -1)) {
    const [, word, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (word === "HELP" || word === "TYPE") page.describe(word, name, rest);
    else if (line !== "" && !line.startsWith("#")) page.add(sampleOf(line));
  }
  return page.samples;
}

function sampleOf(line: string): Sample {
  const name = NAME.exec(line)?.[0] ?? "";
  if (name === "") throw new Error(`no metric's name: ${line}`);
  let rest = line.slice(name.length);
  const labels: Record<string, string> = {};
  if (rest.startsWith("{")) {
    rest = rest.slice(1);
    while (!rest.startsWith("}")) {
      const [whole, label, value] = LABEL.exec(rest) ?? [];
      if (whole === undefined || label === undefined || value === undefined || label in labels)
        throw new Error(`a label is wrong: ${line}`);
      labels[label] = value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
      rest = rest.slice(whole.length);
      if (rest.startsWith(",")) rest = rest.slice(1);
      else if (!rest.startsWith("}")) throw new Error(`a label is wrong: ${line}`);
    }
    rest = rest.slice(1);
  }
  const number = rest.trim();
  if (!NUMBER.test(number)) throw new Error(`no number: ${line}`);
  return { name, labels, value: Number(number.replace(/inf$/i, "Infinity")) };
}
