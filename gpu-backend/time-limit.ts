/**
 * A bound on how long something is waited for, which holds whatever the garbage collector does. AbortSignal.timeout and AbortSignal.any are not enough: Node's fetch holds the
 * signal of a request weakly, so that a collection while the other side is silent takes signal and timer away, and the call never ends.
 */
interface TimeLimit {
  ms: number;
  /** Others that end it earlier. */
  signals?: readonly (AbortSignal | undefined)[];
}

type Limited<Result> = { type: "done"; result: Result } | { type: "timeout" | "aborted" };

/** Gives `work` a signal to end by, and does not wait for it longer than that. Rejects as `work` does. */
export async function withinLimit<Result>(
  { ms, signals = [] }: TimeLimit,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Limited<Result>> {
  const controller = new AbortController();
  const ended = Promise.withResolvers<Limited<Result>>();
  const end = (type: "timeout" | "aborted"): void => {
    ended.resolve({ type });
    controller.abort();
  };
  const abort = (): void => end("aborted");
  const timer = setTimeout(() => end("timeout"), ms);
  const given = signals.filter((signal) => signal !== undefined);
  for (const signal of given) signal.addEventListener("abort", abort);
  if (given.some((signal) => signal.aborted)) abort();
  try {
    const working = work(controller.signal).then((result): Limited<Result> => ({ type: "done", result }));
    // What fails when nobody waits any more is nobody's.
    working.catch(() => undefined);
    return await Promise.race([working, ended.promise]);
  } finally {
    clearTimeout(timer);
    for (const signal of given) signal.removeEventListener("abort", abort);
  }
}
