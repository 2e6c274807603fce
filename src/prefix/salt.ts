/** What keeps one tenant's chains apart from another's. The shell derives it (an HMAC under the deployment's secret); the core only carries it. */
declare const saltBrand: unique symbol;
export type Salt = string & { readonly [saltBrand]: true };

/** 1 to 64 characters of base64url, else null. */
export function parseSalt(value: unknown): Salt | null {
  return typeof value === "string" && /^[\w-]{1,64}$/.test(value) ? (value as Salt) : null;
}
