import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatKey, parseKey } from "../../../src/tenancy/key.ts";

const mac = (text: string): Uint8Array => createHmac("sha256", "deployment").update(text).digest();
const same = (a: string, b: string): boolean => a === b;
const key = formatKey({ tenant: "acme", keyId: "k1" }, "0123456789abcdefABCDEF01", mac);

test("a key leads to its tenant", () => {
  expect(key).toMatch(/^wp_acme_k1_0123456789abcdefABCDEF01[0-9A-Za-z]{8}$/);
  expect(parseKey(key, mac, same)).toEqual({ tenant: "acme", keyId: "k1" });
});

test("any changed character is refused", () => {
  fc.assert(
    fc.property(fc.nat(key.length - 1), fc.constantFrom("0", "9", "a", "f", "X", "Z", "_"), (at, character) => {
      fc.pre(key[at] !== character);
      expect(parseKey(key.slice(0, at) + character + key.slice(at + 1), mac, same)).toBeNull();
    }),
  );
});

test("another deployment's key is refused", () => {
  const other = (text: string): Uint8Array => createHmac("sha256", "another").update(text).digest();
  expect(parseKey(key, other, same)).toBeNull();
});

test.each(["", "wp_", "sk-123", "wp_a_b", `${key}\n`, `${key}x`, "wp_acme_k1_é"])("no key at all: %j", (text) => {
  expect(parseKey(text, mac, same)).toBeNull();
});
