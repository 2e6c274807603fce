export interface ScreenFacts {
  url: string;
  apiKey: string;
  model: string;
  replicas: number;
  readyMs: number;
  /** The tiny model with random weights that we make ourselves. */
  demo: boolean;
}

/** What the user sees once everything is ready. */
export function screen(facts: ScreenFacts): string {
  const body = JSON.stringify({ model: facts.model, stream: true, max_tokens: 48, messages: [{ role: "user", content: "Hello" }] });
  const note = facts.demo
    ? `\n  ${facts.model} is tiny and untrained: it answers at once, and gibberish. Bring your own with --model FILE.gguf.\n`
    : "";
  return `
  Warmpath is ready: ${facts.replicas} replica${facts.replicas === 1 ? "" : "s"} of ${facts.model}, in ${(facts.readyMs / 1000).toFixed(1)} s

  URL   ${facts.url}/v1
  Key   ${facts.apiKey}

  curl -N ${facts.url}/v1/chat/completions -H "authorization: Bearer ${facts.apiKey}" -H "content-type: application/json" -d '${body}'
${note}
  Ctrl-C ends everything.

`;
}
