/** Why the edge could not be built, as one line with the place. */
import { stripVTControlCharacters } from "node:util";

/** As `execFile` fails. */
export interface BuildError {
  message: string;
  stdout?: string;
  stderr?: string;
}

const HEADLINE = /Build failed with \d+ error/;
const ERROR = /^\W*\[?ERROR\]?:?\s+|^\w*Error: /;
const PLACE = /^[^\s:]+:\d+:\d+:?$/;

/** From what wrangler and the build before it wrote: the first error, with its file, line and column where they follow. */
export function buildProblem({ message, stdout = "", stderr = "" }: BuildError): string {
  const lines = stripVTControlCharacters(`${stderr}\n${stdout}`)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !HEADLINE.test(line));
  const at = lines.findIndex((line) => ERROR.test(line));
  if (at < 0) return lines.at(-1) ?? message;
  const place = PLACE.test(lines[at + 1] ?? "") ? ` (${(lines[at + 1] ?? "").replace(/:$/, "")})` : "";
  return `${(lines[at] ?? "").replace(ERROR, "")}${place}`;
}
