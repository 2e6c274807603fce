import { createHmac, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { AdmissionGate } from "../../gpu-backend/admission-gate.ts";
import { type Admission, encodeAdmission } from "../../src/wire/admission.ts";

const key = randomBytes(32);
const mint = (claims: Partial<Admission> = {}, by = key): string =>
  encodeAdmission({ id: "req_a_1", attempt: 1, salt: "s", bodyBytes: 10, chainTip: "ff", expiresAtMs: 2_000, ...claims }, (text) =>
    createHmac("sha256", by).update(text).digest("base64url"),
  );

function gateAt(poolNowMs: number, nowMs: number): AdmissionGate {
  const gate = new AdmissionGate();
  gate.welcome(key.toString("base64url"), poolNowMs, nowMs);
  return gate;
}

test("an admission is good once", () => {
  const gate = gateAt(1_000, 1_000);
  const text = mint();
  expect(gate.spend(text, 10, 1_000)).toMatchObject({ ok: true, admission: { id: "req_a_1" } });
  expect(gate.spend(text, 10, 1_000)).toEqual({ ok: false, why: "it was used before" });
});

test("expiry is in the pool's clock, however wrong ours is", () => {
  const gate = gateAt(1_000, 9_000_000);
  expect(gate.spend(mint({ attempt: 1 }), 10, 9_000_900).ok).toBe(true);
  expect(gate.spend(mint({ attempt: 2 }), 10, 9_001_100)).toEqual({ ok: false, why: "it has expired" });
});

test.each([
  ["missing", undefined, "it is missing; requests come through the edge"],
  ["unsigned", "{}", "it has no signature"],
  ["by another key", mint({}, randomBytes(32)), "its signature is not this pool's"],
  ["for another body", mint({ bodyBytes: 11 }), "it was given for another body"],
])("an admission that is %s is refused", (_name, text, why) => {
  expect(gateAt(1_000, 1_000).spend(text, 10, 1_000)).toEqual({ ok: false, why });
});

test("before the replica has joined nothing is let in", () => {
  expect(new AdmissionGate().spend(mint(), 10, 0).ok).toBe(false);
});
