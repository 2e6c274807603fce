/** The secret of the deployment that a command speaks for: from the environment, or from a state directory of `npm start`. */
import { resolve } from "node:path";
import { readSecrets, type Secrets, secretsOf } from "./secrets.ts";

export const SECRET_USAGE = `  Reads WARMPATH_SECRET, the deployment's secret, from the environment. Where it is not set, or with --state DIR,
  the secret of a state directory of npm start is read (default .warmpath).`;

/** Makes no secret. Throws a RangeError, fit for the user, where there is none or it is too short. */
export function commandSecrets(state: string | undefined, environment: string | undefined): Secrets {
  if (state !== undefined || environment === undefined || environment === "") return readSecrets(resolve(state ?? ".warmpath"));
  if (environment.length < 16) throw new RangeError("WARMPATH_SECRET is too short: it needs 16 characters.");
  return secretsOf(environment);
}
