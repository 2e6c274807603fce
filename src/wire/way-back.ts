/**
 * How a pool proves that a replica can be reached at its URL: it fetches `URL/way-back/NONCE`, and the replica answers 200 with the nonce's
 * signature under the key of its epoch. Only the process that was welcomed has that key.
 */
import type { Mac } from "./sealed.ts";

const PATH = "/way-back/";
/** 16 random bytes in base64url. */
const NONCE = /^[\w-]{22}$/;

/** A signature is shorter; what is longer is not read. */
export const MOST_PROOF_BYTES = 128;

export function wayBackPath(nonce: string): string {
  return PATH + nonce;
}

/** The nonce that a request's path asks to have signed; null when it asks for something else. */
export function nonceOf(path: string): string | null {
  const nonce = path.startsWith(PATH) ? path.slice(PATH.length) : "";
  return NONCE.test(nonce) ? nonce : null;
}

/** Admissions and tickets are signed under the same key: none can stand for another. */
export function signNonce(nonce: string, mac: Mac): string {
  return mac(`way-back ${nonce}`);
}
