/** `warmpath join-token`: the token with which replicas join a pool of a deployment. */
import { parseArgs } from "node:util";
import { commandSecrets, SECRET_USAGE } from "./command-secret.ts";

const USAGE = `warmpath join-token POOL [REPLICA] [--state DIR]
  The token of any replica of the pool, or of the one that is named.
${SECRET_USAGE}`;
const NAME = /^[0-9A-Za-z._-]{1,64}$/;

/** Exit status: 2 for what is not understood. */
export function main(args: string[]): number {
  try {
    const options = { state: { type: "string" }, help: { type: "boolean", short: "h" } } as const;
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    if (values.help === true) {
      console.log(USAGE);
      return 0;
    }
    const [pool = "", replica, ...more] = positionals;
    if (!NAME.test(pool) || (replica !== undefined && !NAME.test(replica)) || more.length > 0) throw new RangeError(USAGE);
    console.log(commandSecrets(values.state, process.env["WARMPATH_SECRET"]).joinToken(pool, replica));
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 2;
  }
}
