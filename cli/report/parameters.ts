/** The parameters of a report's runs, each with its unit. */
import { escapeText } from "./markup.ts";

/** Unit, or what is counted, by the parameter's name. */
const UNITS: Readonly<Record<string, string>> = {
  replicas: "engines",
  requests: "requests in each cell",
  seed: "seed of all chance",
  topology: "who prefills and who decodes",
  hostTokens: "KV tokens in the host memory of each replica",
  edges: "routers",
  eventDelayMs: "ms until what a replica holds is known",
  eventLoss: "share of residency frames that are lost, 0 to 1",
  constants: "times the engine's published step time",
  traceSkips: "requests at the trace's begin that are left out",
  loads: "shares of the rate that the fleet completes at most",
};

/** As markup; empty without any. */
export function parameterList(parameters: Readonly<Record<string, string | number | boolean>>): string {
  const rows = Object.entries(parameters).map(([name, value]) => {
    const unit = Object.hasOwn(UNITS, name) ? ` <small>${escapeText(UNITS[name] ?? "")}</small>` : "";
    return `<div><dt>${escapeText(name)}</dt><dd>${escapeText(String(value))}${unit}</dd></div>`;
  });
  return rows.length === 0 ? "" : `<dl class="facts">${rows.join("")}</dl>`;
}
