/** Every header name of ours, once. Lower case, as `Headers` gives them. */
export const HEADER = {
  requestId: "x-request-id",
  admission: "x-warmpath-admission",
  pool: "x-warmpath-pool",
  replica: "x-warmpath-replica",
  cachedTokens: "x-warmpath-cached-tokens",
  attempts: "x-warmpath-attempts",
} as const;
