/** `warmpath join-token`: the token with which replicas join a pool of a deployment. */
import { secretsOf } from "./secrets.ts";

const USAGE = `warmpath join-token POOL [REPLICA]
  The token of any replica of the pool, or of the one that is named. Reads WARMPATH_SECRET, the deployment's secret, from the environment.`;
const NAME = /^[0-9A-Za-z._-]{1,64}$/;

/** Exit status: 2 for what is not understood. */
export function main(args: string[]): number {
  const [pool = "", replica, ...more] = args;
  if (pool === "--help" || pool === "-h") {
    console.log(USAGE);
    return 0;
  }
  const secret = process.env.WARMPATH_SECRET ?? "";
  if (!NAME.test(pool) || (replica !== undefined && !NAME.test(replica)) || more.length > 0 || secret.length < 16) {
    console.error(secret.length < 16 ? `WARMPATH_SECRET is not set, or is too short.\n${USAGE}` : USAGE);
    return 2;
  }
  console.log(secretsOf(secret).joinToken(pool, replica));
  return 0;
}
