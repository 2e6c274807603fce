/** Prometheus's text format, as its scrapers read it: https://prometheus.io/docs/instrumenting/exposition_formats. */

export interface MetricFamily {
  name: string;
  type: "counter" | "gauge";
  help: string;
  samples: readonly { labels: Readonly<Record<string, string>>; value: number }[];
}

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Families without a sample are left out. */
export function prometheusText(families: readonly MetricFamily[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) => {
      const lines = samples.map(({ labels, value }) => `${name}${labelText(labels)} ${value}\n`);
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    })
    .join("");
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, escaped)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

const escaped = (character: string): string => (character === "\n" ? "\\n" : `\\${character}`);
