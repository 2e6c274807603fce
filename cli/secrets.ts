/** The secret of a deployment on this machine, and what is derived from it. The derivations are those of workers/env.ts. */
import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { joinTokenText } from "../src/tenancy/join-token.ts";
import { formatKey } from "../src/tenancy/key.ts";
import { writePrivately } from "./state-directory.ts";

/** The edge takes none that is shorter. */
const LEAST_CHARACTERS = 16;

export interface Secrets {
  deployment: string;
  apiKey: string;
  /** Of any replica of the pool, or of the one that is named. */
  joinToken(pool: string, replica?: string): string;
}

/** Makes a secret where there is none, or an empty file. Throws a RangeError, fit for the user, where somebody wrote one that is too short, or something else than a file is there. */
export function loadSecrets(stateDirectory: string): Secrets {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const file = join(stateDirectory, "secret");
  let deployment = readSecret(file);
  if (deployment === "") {
    deployment = randomBytes(32).toString("base64url");
    writePrivately(file, `${deployment}\n`);
  }
  return checkedSecrets(file, deployment);
}

/** Of a state directory that was used before. Makes nothing. Throws a RangeError, fit for the user, where there is no secret or it is too short. */
export function readSecrets(stateDirectory: string): Secrets {
  const file = join(stateDirectory, "secret");
  const deployment = readSecret(file);
  if (deployment === "")
    throw new RangeError(`There is no secret in ${file}. Set WARMPATH_SECRET, or name a state directory with --state.`);
  return checkedSecrets(file, deployment);
}

function checkedSecrets(file: string, deployment: string): Secrets {
  if (deployment.length < LEAST_CHARACTERS)
    throw new RangeError(`The secret in ${file} is too short: it needs ${LEAST_CHARACTERS} characters. Delete the file to have one made.`);
  return secretsOf(deployment);
}

export function secretsOf(deployment: string): Secrets {
  const mac = (text: string): Buffer => createHmac("sha256", deployment).update(text).digest();
  // The same key at every start: a curl line once pasted goes on working.
  const secret = mac("development-key").toString("hex").slice(0, 24);
  return {
    deployment,
    apiKey: formatKey({ tenant: "dev", keyId: "1" }, secret, mac),
    joinToken: (pool, replica) => `wpj_${mac(joinTokenText(pool, replica)).toString("base64url")}`,
  };
}

/** Only a file that is not there is as good as an empty one: what can't be read may hold the secret. */
function readSecret(file: string): string {
  try {
    // A link to a file is somebody's will; opening a FIFO would wait for ever.
    if (!statSync(file).isFile()) throw new RangeError(`The secret ${file} is no file. Delete it to have one made.`);
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
