import { expect, it } from "vitest";
import { chainRoot, type ChainScope } from "../../../src/prefix/chain.ts";
import { ChainRoots } from "../../../src/prefix/chain-roots.ts";
import { DEFAULT_SCHEDULE } from "../../../src/prefix/segment.ts";

const scope: ChainScope = {
  spec: { version: 1, schedule: DEFAULT_SCHEDULE, order: "tools-first" },
  model: "demo",
  adapter: null,
  salt: "salt",
};
const SCOPES: ChainScope[] = [
  scope,
  { ...scope, spec: { ...scope.spec, order: "system-then-tools" } },
  { ...scope, model: "other" },
  { ...scope, adapter: "lora" },
  { ...scope, salt: "another" },
];

it("a root is hashed once, and each scope has its own", () => {
  let hashed = 0;
  const hash64 = (bytes: Uint8Array): bigint => {
    hashed++;
    return bytes.reduce((sum, byte) => (sum * 31n + BigInt(byte)) % 2n ** 61n, 7n);
  };
  const roots = new ChainRoots(hash64);
  const first = SCOPES.map((each) => roots.of(each));
  expect(SCOPES.map((each) => roots.of({ ...each }))).toEqual(first);
  expect([hashed, new Set(first).size]).toEqual([SCOPES.length, SCOPES.length]);
  expect(first).toEqual(SCOPES.map((each) => chainRoot(hash64, each)));
});
