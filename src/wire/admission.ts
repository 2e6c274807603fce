/**
 * The edge's right to use a replica once: minted by the pool under a key that only this pool object and this epoch of the replica know,
 * carried by the edge, checked and spent by the replica.
 */
import { z } from "zod";
import { type Mac, type SameText, seal, unseal } from "./sealed.ts";

/** Of one request at one pool. */
export const MOST_ATTEMPTS = 64;

const Admission = z.object({
  id: z.string().max(80),
  attempt: z.number().int().min(1).max(MOST_ATTEMPTS),
  salt: z.string().max(64),
  /** To which path of the replica it goes. */
  path: z.string().max(64),
  bodyBytes: z.number().int().nonnegative(),
  /** Of the forwarded body (`forwardedDigest`). */
  digest: z.string().max(64),
  /** Last hash of the request's chain in hex; empty for a prompt shorter than one segment. */
  chainTip: z.string().max(16),
  /** Pool clock. */
  expiresAtMs: z.number(),
});
export type Admission = z.infer<typeof Admission>;

/** SHA-256 of some bytes, base64url. The shells supply it. */
export type Sha256 = (bytes: Uint8Array | string) => string;

/**
 * What an admission says of the body it was given for, so that it lets in no other: SHA-256 of the JSON `[historyBytes, bodySha256]`.
 *
 * @param historyBytes so many bytes at the body's start are the conversation so far: the same bytes cut elsewhere are another request.
 * @param bodySha256 of all bytes, base64url.
 */
export function forwardedDigest(sha256: Sha256, historyBytes: number, bodySha256: string): string {
  return sha256(JSON.stringify([historyBytes, bodySha256]));
}

export function encodeAdmission(admission: Admission, mac: Mac): string {
  return seal(admission, mac);
}

/** The admission, or in words why it is none. Expiry and single use are the caller's to check: it has the clock and the memory. */
export function decodeAdmission(text: string, mac: Mac, same: SameText): { ok: true; admission: Admission } | { ok: false; why: string } {
  const unsealed = unseal(text, mac, same, Admission);
  return unsealed.ok ? { ok: true, admission: unsealed.value } : unsealed;
}
