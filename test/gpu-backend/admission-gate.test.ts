import { createHmac, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { AdmissionGate, type Presented } from "../../gpu-backend/admission-gate.ts";
import { nonceOf, wayBackPath } from "../../src/wire/way-back.ts";
import { sha256 } from "../../gpu-backend/sha256.ts";
import { type Admission, encodeAdmission, forwardedDigest } from "../../src/wire/admission.ts";

const PATH = "/v1/chat/completions";
const body = Buffer.from("0123456789");
const key = randomBytes(32);
const mint = (claims: Partial<Admission> = {}, by = key): string =>
  encodeAdmission(
    {
      id: "req_a_1",
      attempt: 1,
      salt: "s",
      path: PATH,
      bodyBytes: 10,
      digest: forwardedDigest(sha256, 0, sha256(body)),
      chainTip: "ff",
      expiresAtMs: 2_000,
      ...claims,
    },
    (text) => createHmac("sha256", by).update(text).digest("base64url"),
  );

const presented = (admission: string | undefined, epoch = "7"): Presented => ({ admission, epoch, path: PATH, bodyBytes: 10 });

function gateAt(poolNowMs: number, nowMs: number): AdmissionGate {
  const gate = new AdmissionGate();
  gate.begin(7);
  gate.welcome(key.toString("base64url"), poolNowMs, nowMs);
  return gate;
}

test("an admission is good once", () => {
  const gate = gateAt(1_000, 1_000);
  const text = mint();
  expect(gate.spend(presented(text), 1_000)).toMatchObject({ ok: true, admission: { id: "req_a_1" } });
  expect(gate.spend(presented(text), 1_000)).toEqual({ ok: false, why: "it was used before", replaced: false });
});

test("expiry is in the pool's clock, however wrong ours is", () => {
  const gate = gateAt(1_000, 9_000_000);
  expect(gate.spend(presented(mint({ attempt: 1 })), 9_000_900).ok).toBe(true);
  expect(gate.spend(presented(mint({ attempt: 2 })), 9_001_100)).toEqual({ ok: false, why: "it has expired", replaced: false });
});

test.each([
  ["missing", undefined, "it is missing; requests come through the edge"],
  ["unsigned", "{}", "it has no signature"],
  ["by another key", mint({}, randomBytes(32)), "its signature is not this pool's"],
  ["for another path", mint({ path: "/v1/messages/count_tokens" }), "it was given for another path"],
  ["for a body of another length", mint({ bodyBytes: 11 }), "it was given for another body"],
])("an admission that is %s is refused", (_name, text, why) => {
  expect(gateAt(1_000, 1_000).spend(presented(text), 1_000)).toEqual({ ok: false, why, replaced: false });
});

test("before the replica has joined nothing is let in", () => {
  expect(new AdmissionGate().spend(presented(mint()), 0).ok).toBe(false);
});

test("an admission of another epoch is refused with its own code, before and after this epoch has its key", () => {
  const gate = gateAt(1_000, 1_000);
  const before = mint();
  gate.begin(8);
  const replaced = { ok: false, why: "this replica has begun a new epoch since", replaced: true };
  expect(gate.spend(presented(before, "7"), 1_000)).toEqual(replaced);
  // Whoever names this life before it has a key comes too soon, with whatever key.
  expect(gate.spend(presented(before, "8"), 1_000)).toMatchObject({ ok: false, replaced: false });
  const next = randomBytes(32);
  gate.welcome(next.toString("base64url"), 1_000, 1_000);
  expect(gate.spend(presented(before, "7"), 1_000)).toEqual(replaced);
  expect(gate.spend(presented(mint({}, next), "8"), 1_000).ok).toBe(true);
});

test("an edge that names no epoch is judged by the signature alone", () => {
  const gate = gateAt(1_000, 1_000);
  expect(gate.spend({ admission: mint(), epoch: undefined, path: PATH, bodyBytes: 10 }, 1_000).ok).toBe(true);
});

test("the pool's clock is followed: neither it nor ours may be set by an hour to lasting harm", () => {
  const gate = gateAt(1_000, 1_000);
  gate.follow(3_601_000, 1_500);
  expect(gate.spend(presented(mint({ expiresAtMs: 3_602_000 })), 1_600).ok).toBe(true);
  gate.follow(1_000, 1_700);
  expect(gate.spend(presented(mint({ attempt: 2, expiresAtMs: 900 })), 1_700)).toMatchObject({ ok: false, why: "it has expired" });
});

test("a nonce is signed with the key of this life, once it is here, and nothing else can be had signed so", () => {
  const gate = new AdmissionGate();
  gate.begin(7);
  expect(gate.prove("A".repeat(22))).toBeNull();
  gate.welcome(key.toString("base64url"), 1_000, 1_000);
  expect(gate.prove("A".repeat(22))).toBe(
    createHmac("sha256", key)
      .update(`way-back ${"A".repeat(22)}`)
      .digest("base64url"),
  );
  gate.begin(8);
  expect(gate.prove("A".repeat(22))).toBeNull();
  expect([
    nonceOf(wayBackPath("A".repeat(22))),
    nonceOf("/way-back/short"),
    nonceOf(`/way-back/${"A".repeat(23)}`),
    nonceOf("/healthz"),
  ]).toEqual(["A".repeat(22), null, null, null]);
});

test.each([
  ["the body that it was given for", body, 0, true],
  ["a body that differs in one byte", Buffer.from("0123456780"), 0, false],
  ["a body of another length", Buffer.from("012345678"), 0, false],
  ["the same bytes with another end of the history", body, 4, false],
])("an admission fits %s or no other", (_name, given, historyBytes, fits) => {
  const gate = gateAt(1_000, 1_000);
  const spent = gate.spend({ ...presented(mint()), bodyBytes: null }, 1_000);
  if (!spent.ok) throw new Error(spent.why);
  expect(gate.isAdmitted(spent.admission, given, historyBytes)).toBe(fits);
});
