/** The secret of a deployment on this machine, and what is derived from it. The derivations are those of workers/env.ts. */
import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatKey } from "../src/tenancy/key.ts";

export interface Secrets {
  deployment: string;
  apiKey: string;
  joinToken(pool: string): string;
}

export function loadSecrets(stateDirectory: string): Secrets {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const file = join(stateDirectory, "secret");
  let deployment: string;
  try {
    deployment = readFileSync(file, "utf8").trim();
  } catch {
    deployment = randomBytes(32).toString("base64url");
    writeFileSync(file, `${deployment}\n`, { mode: 0o600 });
  }
  const mac = (text: string): Buffer => createHmac("sha256", deployment).update(text).digest();
  // The same key at every start: a curl line once pasted goes on working.
  const secret = mac("development-key").toString("hex").slice(0, 24);
  return {
    deployment,
    apiKey: formatKey({ tenant: "dev", keyId: "1" }, secret, mac),
    joinToken: (pool) => `wpj_${mac(`join:${pool}`).toString("base64url")}`,
  };
}
