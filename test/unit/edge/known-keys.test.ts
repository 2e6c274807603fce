import { expect, it } from "vitest";
import { KnownKeys } from "../../../workers/known-keys.ts";

const acme = { tenant: "acme", keyId: "1" };

it("a key is checked once in 5 s, so that one that is taken back ends by then", () => {
  const keys = new KnownKeys();
  let checks = 0;
  let isValid = true;
  const check = () => {
    checks++;
    return isValid ? acme : null;
  };
  expect([keys.find("k", check, 0), keys.find("k", check, 4_999), checks]).toEqual([acme, acme, 1]);
  isValid = false;
  expect([keys.find("k", check, 4_999), checks]).toEqual([acme, 1]);
  expect([keys.find("k", check, 5_000), keys.find("k", check, 5_001), checks]).toEqual([null, null, 3]);
});

it("a wrong key is checked each time, and known by no other's check", () => {
  const keys = new KnownKeys();
  const check = (text: string) => (text === "right" ? acme : null);
  expect([keys.find("right", check, 0), keys.find("wrong", check, 0), keys.find("wrong", check, 1)]).toEqual([acme, null, null]);
});

it("1,024 keys are known at most", () => {
  const keys = new KnownKeys();
  let checks = 0;
  const check = () => {
    checks++;
    return acme;
  };
  for (let each = 0; each < 1_025; each++) keys.find(`key ${each}`, check, 0);
  keys.find("key 1024", check, 0);
  expect(checks).toBe(1_025);
  keys.find("key 0", check, 0);
  expect(checks).toBe(1_026);
});
