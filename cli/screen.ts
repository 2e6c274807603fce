import { roleOf, type Topology } from "./options.ts";

export interface ScreenFacts {
  url: string;
  apiKey: string;
  model: string;
  /** Of each pool. */
  replicas: number;
  /** Default 1. */
  pools?: number;
  topology: Topology;
  readyMs: number;
  /** The tiny model with random weights that we make ourselves. */
  demo: boolean;
}

/** Nothing of a topology where every replica does everything. */
function rolesLine({ replicas, topology }: ScreenFacts): string {
  if (topology === "aggregated") return "";
  const roles = Array.from({ length: replicas }, (_, index) => roleOf(topology, index + 1));
  const countOf = (role: string): number => roles.filter((each) => each === role).length;
  return `\n  Topology  ${topology}: ${countOf("prefill")} prefill, ${countOf("decode")} decode`;
}

const poolsOf = ({ pools = 1 }: ScreenFacts): string => (pools === 1 ? "" : ` in each of ${pools} pools`);

/** What the user sees once everything is ready. */
export function screen(facts: ScreenFacts): string {
  const body = JSON.stringify({ model: facts.model, stream: true, max_tokens: 48, messages: [{ role: "user", content: "Hello" }] });
  const note = facts.demo
    ? `\n  ${facts.model} is tiny and untrained: it answers at once, and gibberish. Bring your own with --model FILE.gguf.\n`
    : "";
  return `
  Warmpath is ready: ${facts.replicas} replica${facts.replicas === 1 ? "" : "s"}${poolsOf(facts)} of ${facts.model}, in ${(facts.readyMs / 1000).toFixed(1)} s${rolesLine(facts)}

  Page  ${facts.url}/#key=${facts.apiKey}
  URL   ${facts.url}/v1
  Key   ${facts.apiKey}

  curl -N ${facts.url}/v1/chat/completions -H "authorization: Bearer ${facts.apiKey}" -H "content-type: application/json" -d '${body}'
${note}
  Ctrl-C ends everything.

`;
}
