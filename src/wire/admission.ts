/**
 * The edge's right to use a replica once: minted by the pool under a key that only this pool object and this epoch of the replica know,
 * carried by the edge, checked and spent by the replica.
 */
import { z } from "zod";

/** Keyed message authentication code of `text`, base64url. The shells supply HMAC-SHA-256. */
export type Mac = (text: string) => string;
/** Comparison in constant time. */
export type SameText = (a: string, b: string) => boolean;

const Admission = z.object({
  id: z.string().max(80),
  attempt: z.number().int().min(1).max(64),
  salt: z.string().max(64),
  bodyBytes: z.number().int().nonnegative(),
  /** Last hash of the request's chain in hex; empty for a prompt shorter than one segment. */
  chainTip: z.string().max(16),
  /** Pool clock. */
  expiresAtMs: z.number(),
});
export type Admission = z.infer<typeof Admission>;

export function encodeAdmission(admission: Admission, mac: Mac): string {
  const payload = JSON.stringify(admission);
  return `${mac(payload)}.${payload}`;
}

/** The admission, or in words why it is none. Expiry and single use are the caller's to check: it has the clock and the memory. */
export function decodeAdmission(text: string, mac: Mac, same: SameText): { ok: true; admission: Admission } | { ok: false; why: string } {
  const dot = text.indexOf(".");
  if (dot < 0) return { ok: false, why: "it has no signature" };
  const payload = text.slice(dot + 1);
  if (!same(text.slice(0, dot), mac(payload))) return { ok: false, why: "its signature is not this pool's" };
  try {
    return { ok: true, admission: Admission.parse(JSON.parse(payload)) };
  } catch {
    return { ok: false, why: "its payload has another shape" };
  }
}
