/** `warmpath key`: the development key of a deployment. */
import { parseArgs } from "node:util";
import { commandSecrets, SECRET_USAGE } from "./command-secret.ts";

const USAGE = `warmpath key [--state DIR]
  The development key of the deployment, as npm start shows it.
${SECRET_USAGE}`;

/** Exit status: 2 for what is not understood. */
export function main(args: string[]): number {
  try {
    const { values } = parseArgs({ args, options: { state: { type: "string" }, help: { type: "boolean", short: "h" } } });
    console.log(values.help === true ? USAGE : commandSecrets(values.state, process.env["WARMPATH_SECRET"]).apiKey);
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 2;
  }
}
