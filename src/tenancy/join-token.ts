/** What a join token is the HMAC of, under the deployment's secret. Names of pools and replicas have no slash. */
export function joinTokenText(pool: string, replica?: string): string {
  return replica === undefined ? `join:${pool}` : `join:${pool}/${replica}`;
}
