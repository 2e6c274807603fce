/** What a replica says to its operator: a line each, to standard error, or to the launcher that started it. Never a token, a prompt or an answer. */

/** What a launcher of replica and edge sees by itself: the replica has joined, has lost the edge, can't join. */
export type PlaceChange = "joined" | "lost" | "unjoined";

type Hear = (line: string, what: PlaceChange | null) => void;

/** `part`: 0 to 1 of the model that is loaded. */
type Loading = (part: number) => void;

let hear: Hear = (line) => void process.stderr.write(`${line}\n`);
let hearLoading: Loading = () => undefined;

export function tell(line: string, what: PlaceChange | null = null): void {
  hear(line, what);
}

/** Shown by a launcher only: a log has no use for it. */
export function tellLoading(part: number): void {
  hearLoading(part);
}

/** From now on all of it goes there. */
export function tellTo(listener: Hear, loading: Loading): void {
  hear = listener;
  hearLoading = loading;
}
