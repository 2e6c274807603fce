/** Every header name of ours, once. Lower case, as `Headers` gives them. */
export const HEADER = {
  requestId: "x-request-id",
  /** The same in Anthropic's spelling. */
  requestIdAnthropic: "request-id",
  admission: "x-warmpath-admission",
  /** Edge → replica: for which life of the replica the admission was given. */
  epoch: "x-warmpath-epoch",
  /** Replica → edge: `follows`, this 200 only says that the request is here; white space, then a line with the verdict begin the body (verdict.ts). */
  verdict: "x-warmpath-verdict",
  pool: "x-warmpath-pool",
  /** Edge → client: the model that served. Edge → replica: the name of the model in the answer. */
  model: "x-warmpath-model",
  /** Edge → client: why this pool, where there are several. */
  poolReason: "x-warmpath-pool-reason",
  /** Edge → client: the replica that served. Replica → edge: its name as it opens its socket, percent-encoded. */
  replica: "x-warmpath-replica",
  cachedTokens: "x-warmpath-cached-tokens",
  attempts: "x-warmpath-attempts",
  /** Edge → replica: so many bytes at the body's start are the conversation so far, as JSON; the client's own body follows. */
  historyBytes: "x-warmpath-history-bytes",
  /** Edge → replica, and back with the result: the right to store it once. */
  resultTicket: "x-warmpath-result-ticket",
  /** Edge → replica: which replica prefills for it, or holds what it lacks; JSON of a `Source` (ticket.ts). Never taken from a client. */
  prefill: "x-warmpath-prefill",
  pull: "x-warmpath-pull",
  /** Edge → replica: `1`, load what lies on lower tiers; `0`, compute it. Absent: the replica decides. Never taken from a client. */
  load: "x-warmpath-load",
  /** Client → edge: `high`, `normal` or `low`; within how many ms the first token is wanted; how many ms a token after it may take. */
  priority: "x-warmpath-priority",
  deadlineMs: "x-warmpath-deadline-ms",
  tpotMs: "x-warmpath-tpot-ms",
  /** Client → edge: how long the prompt's blocks should stay, as `15m`. */
  pin: "x-warmpath-pin",
  /** Edge → replica: the same in ms. */
  pinMs: "x-warmpath-pin-ms",
} as const;
