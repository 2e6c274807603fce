/**
 * A replica's lines for its operator: to standard error, or to the launcher that started the replica.
 * A line never has a token, a prompt or an answer.
 */

/** A change of the replica's place in its pool, as the launcher needs it: it joined, it lost the edge, it cannot join. */
export type MembershipChange = "joined" | "lost" | "unjoined";

type LineSink = (line: string, change: MembershipChange | null) => void;

/** `part`: 0 to 1 of the model that is loaded. */
type LoadingSink = (part: number) => void;

let writeLine: LineSink = (line) => void process.stderr.write(`${line}\n`);
let writeLoading: LoadingSink = () => undefined;

export function logLine(line: string, change: MembershipChange | null = null): void {
  writeLine(line, change);
}

/** Only a launcher shows this; without one it is dropped. */
export function logLoading(part: number): void {
  writeLoading(part);
}

/** Sends all later lines to these functions. */
export function sendLogTo(lines: LineSink, loading: LoadingSink): void {
  writeLine = lines;
  writeLoading = loading;
}
