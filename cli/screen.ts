import { roleOf, type Topology } from "./options.ts";

interface ScreenFacts {
  url: string;
  apiKey: string;
  /** Their ids, as clients write them; none where no replica has joined. */
  models: readonly string[];
  /** Of each pool. */
  replicas: number;
  /** Of each model. Default 1. */
  pools?: number;
  topology: Topology;
  readyMs: number;
  /** A sentence about the model that answers, or null. */
  note: string | null;
  /** The command by which a replica joins; shown where this start has none. */
  joinCommand: string;
}

/** Nothing of a topology where every replica does everything. */
function rolesLine({ replicas, topology }: ScreenFacts): string {
  if (topology === "aggregated") return "";
  const roles = Array.from({ length: replicas }, (_, index) => roleOf(topology, index + 1));
  const countOf = (role: string): number => roles.filter((each) => each === role).length;
  return `\n  Topology  ${topology}: ${countOf("prefill")} prefill, ${countOf("decode")} decode`;
}

const poolsOf = ({ pools = 1 }: ScreenFacts): string => (pools === 1 ? "" : ` in each of ${pools} pools`);

function headline(facts: ScreenFacts): string {
  const { replicas, models } = facts;
  const seconds = `${(facts.readyMs / 1000).toFixed(1)} s`;
  if (replicas === 0) return `  Warmpath's edge is ready, without a replica, in ${seconds}`;
  const each = models.length > 1 ? "of each of " : "of ";
  return `  Warmpath is ready: ${replicas} replica${replicas === 1 ? "" : "s"}${poolsOf(facts)} ${each}${models.join(", ")}, in ${seconds}${rolesLine(facts)}`;
}

/** What the user sees once everything is ready. */
export function screen(facts: ScreenFacts): string {
  const { url, apiKey, models, replicas, note, joinCommand } = facts;
  const body = JSON.stringify({ model: models[0] ?? "", stream: true, max_tokens: 48, messages: [{ role: "user", content: "Hello" }] });
  const command =
    replicas === 0
      ? `A replica joins by this command, here in another terminal:\n\n  ${joinCommand}`
      : `curl -N ${url}/v1/chat/completions -H "authorization: Bearer ${apiKey}" -H "content-type: application/json" -d '${body}'`;
  return `
${headline(facts)}

  Page  ${url}/#key=${apiKey}
  URL   ${url}/v1
  Key   ${apiKey}

  ${command}
${note === null ? "" : `\n  ${note}\n`}
  Ctrl-C ends everything.

`;
}
