/** How the edge tells its launcher of a request that no replica answered: a line of this word, a space and JSON. */
export const REQUEST_LINE = "warmpath-request";

export interface RefusedRequest {
  method: string;
  path: string;
  status: number;
  ms: number;
}
