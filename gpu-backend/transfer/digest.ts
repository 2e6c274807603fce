/** The wire's checksum. SHA-256 and not a faster hash: it is what names blocks already, and CPUs compute it at more than 1 GB/s. */
import { createHash } from "node:crypto";
import type { Digest } from "../../src/wire/kv.ts";

export const sha256: Digest = (parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
