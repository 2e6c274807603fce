/** A short JSON text that its reader can tell was written by whoever holds the key: `<mac>.<json>`. Admissions and tickets are made so. */
import type { z } from "zod";

/** Keyed message authentication code of `text`, base64url. The shells supply HMAC-SHA-256. */
export type Mac = (text: string) => string;
/** Comparison in constant time. */
export type SameText = (a: string, b: string) => boolean;

type Unsealed<T> = { ok: true; value: T } | { ok: false; why: string };

export function seal(value: object, mac: Mac): string {
  const payload = JSON.stringify(value);
  return `${mac(payload)}.${payload}`;
}

/** What was sealed, or in words why it is not believed. Nothing is parsed before the signature fits. */
export function unseal<T>(text: string, mac: Mac, same: SameText, schema: z.ZodType<T>): Unsealed<T> {
  const dot = text.indexOf(".");
  if (dot < 0) return { ok: false, why: "it has no signature" };
  const payload = text.slice(dot + 1);
  if (!same(text.slice(0, dot), mac(payload))) return { ok: false, why: "its signature is not this pool's" };
  try {
    return { ok: true, value: schema.parse(JSON.parse(payload)) };
  } catch {
    return { ok: false, why: "its payload has another shape" };
  }
}
