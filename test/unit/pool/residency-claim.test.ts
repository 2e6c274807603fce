import { expect, test } from "vitest";
import { ResidencyClaims } from "../../../src/pool/residency-claim.ts";

test("what a replica claims counts for its epoch alone, and is noted with a decision only where it is not exact", () => {
  const claims = new ResidencyClaims();
  const [replica, later] = [
    { slot: 3, epoch: 1 },
    { slot: 3, epoch: 2 },
  ];
  expect([claims.of(replica), claims.doubt(replica)]).toEqual([null, {}]);
  claims.set(3, 1, { state: "exact" });
  expect([claims.of(replica), claims.of(later), claims.doubt(replica)]).toEqual([{ state: "exact" }, null, {}]);
  const predicted = { state: "predicted", why: "it says nothing" } as const;
  claims.set(3, 1, predicted);
  expect([claims.doubt(replica), claims.doubt(later)]).toEqual([{ residency: predicted }, {}]);
  claims.set(3, 1, null);
  expect(claims.of(replica)).toBeNull();
});
