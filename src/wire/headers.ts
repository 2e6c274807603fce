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
} as const;
