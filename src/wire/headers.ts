/** Every header name of ours, once. Lower case, as `Headers` gives them. */
export const HEADER = {
  requestId: "x-request-id",
  /** The same in Anthropic's spelling. */
  requestIdAnthropic: "request-id",
  admission: "x-warmpath-admission",
  pool: "x-warmpath-pool",
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
  /** Client → edge: how long the prompt's blocks should stay, as `15m`. */
  pin: "x-warmpath-pin",
  /** Edge → replica: the same in ms. */
  pinMs: "x-warmpath-pin-ms",
} as const;
