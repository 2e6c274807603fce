/** One line for one request: its numbers, never its text. */
import type { ServedRequest } from "../gpu-backend/served-request.ts";
import { REQUEST_LINE, type RefusedRequest } from "../src/wire/request-line.ts";

const count = (tokens: number): string => tokens.toLocaleString("en");
const seconds = (ms: number): string => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`);

/** "POST /v1/chat/completions 200 smollm2 replica-1: 928 of 1,012 prompt tokens cached, first token after 1.1 s, 96 tokens in 4.2 s" */
export function servedLine(replica: string, request: ServedRequest): string {
  const { method, path, status, model, promptTokens, cachedTokens, outputTokens, ttftMs, ms } = request;
  const prompt = promptTokens === null ? [] : [`${count(cachedTokens ?? 0)} of ${count(promptTokens)} prompt tokens cached`];
  const first = ttftMs === null ? [] : [`first token after ${seconds(ttftMs)}`];
  const all = ttftMs === null ? seconds(ms) : `${count(outputTokens)} token${outputTokens === 1 ? "" : "s"} in ${seconds(ms)}`;
  return `${method} ${path} ${status}${model === "" ? "" : ` ${model}`} ${replica}: ${[...prompt, ...first, all].join(", ")}`;
}

/** From a line of the edge; null: it is another one. */
export function refusedLine(line: string): string | null {
  const at = line.indexOf(`${REQUEST_LINE} {`);
  if (at < 0) return null;
  try {
    const { method, path, status, ms } = JSON.parse(line.slice(at + REQUEST_LINE.length + 1)) as RefusedRequest;
    return `${method} ${path} ${status}: answered by the edge in ${seconds(ms)}`;
  } catch {
    return null;
  }
}
