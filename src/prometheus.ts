/** Prometheus's text format, as its scrapers read it: https://prometheus.io/docs/instrumenting/exposition_formats. */

export interface MetricFamily {
  name: string;
  type: "counter" | "gauge";
  help: string;
  samples: readonly { labels: Readonly<Record<string, string>>; value: number }[];
}

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Pages of several sources as one: a family may stand in a text once only, with the samples of all. Name, type and help are the first source's. */
export function mergedFamilies(pages: readonly (readonly MetricFamily[])[]): MetricFamily[] {
  const merged = new Map<string, MetricFamily>();
  for (const family of pages.flat()) {
    const known = merged.get(family.name);
    merged.set(family.name, known === undefined ? family : { ...known, samples: [...known.samples, ...family.samples] });
  }
  return [...merged.values()];
}

/** Families without a sample are left out. */
export function prometheusText(families: readonly MetricFamily[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) => {
      const lines = samples.map(({ labels, value }) => `${name}${labelText(labels)} ${numberText(value)}\n`);
      return `# HELP ${name} ${help.replace(/[\\\n]/g, escaped)}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    })
    .join("");
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, escaped)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

const escaped = (character: string): string => (character === "\n" ? "\\n" : `\\${character}`);

/** As Go writes it, whose parser reads it. */
function numberText(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}
