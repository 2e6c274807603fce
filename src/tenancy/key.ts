/**
 * API keys: `wp_<tenant>_<key id>_<secret><tag>`, all parts base62, the last 8 characters a tag under the deployment's secret.
 * A forged key is refused by its tag alone, without asking any object.
 */

/** Keyed message authentication code of `text` as bytes. The shells supply HMAC-SHA-256 under the deployment's secret. */
type MacBytes = (text: string) => Uint8Array;

export interface ApiKey {
  tenant: string;
  keyId: string;
}

const TAG_LENGTH = 8;
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SHAPE = /^wp_([0-9A-Za-z]{1,32})_([0-9A-Za-z]{1,16})_([0-9A-Za-z]{16,64})$/;

function tagOf(body: string, mac: MacBytes): string {
  const bytes = mac(`api-key:${body}`);
  let tag = "";
  for (let i = 0; i < TAG_LENGTH; i++) tag += ALPHABET.charAt((bytes[i] ?? 0) % ALPHABET.length);
  return tag;
}

/** `secret`: 16 to 48 base62 characters of chance. */
export function formatKey(key: ApiKey, secret: string, mac: MacBytes): string {
  const body = `wp_${key.tenant}_${key.keyId}_${secret}`;
  return body + tagOf(body, mac);
}

/** The key's tenant, or null for anything this deployment did not issue. `same` compares in constant time. */
export function parseKey(text: string, mac: MacBytes, same: (a: string, b: string) => boolean): ApiKey | null {
  const parts = SHAPE.exec(text);
  const tenant = parts?.[1];
  const keyId = parts?.[2];
  if (tenant === undefined || keyId === undefined) return null;
  const body = text.slice(0, -TAG_LENGTH);
  if (!same(tagOf(body, mac), text.slice(-TAG_LENGTH))) return null;
  return { tenant, keyId };
}
