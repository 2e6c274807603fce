import { expect, it } from "vitest";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import type { Role } from "../../../src/pool/replica.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { Pool } from "../../../src/router/pool.ts";
import type { AdmissionClaims, TicketClaims } from "../../../src/router/question.ts";

it("gives a request 15 s to use its replica, and that replica 15 s to fetch what another one prefills", () => {
  const minted: (AdmissionClaims | TicketClaims)[] = [];
  const pool = new Pool({
    index: createSegmentIndex({}),
    profile: CACHE_AWARE,
    random: () => 0,
    mint: (_replica, claims) => (minted.push(claims), "admission"),
    mintTicket: (_replica, claims) => (minted.push(claims), "ticket"),
    remotePrefillTokens: 512,
  });
  const capacity = { sequences: 4, kvTokens: 100_000, blockTokens: 16, contextTokens: 32_768, queueLimit: 2 };
  const join = (name: string, role: Role): unknown =>
    pool.hello(
      {
        hello: {
          name,
          epoch: 1,
          url: `https://${name}.invalid`,
          roles: [role],
          model: "m",
          specFingerprint: "v1",
          capacity,
          transfers: true,
        },
        connection: role === "decode" ? 1 : 2,
        admitted: true,
        running: [],
        seq: 0,
      },
      1_000,
    );
  join("decodes", "decode");
  join("prefills", "prefill");
  const asked = {
    id: "one",
    tenant: "t",
    salt: "s",
    fingerprint: "v1",
    chain: new BigUint64Array(),
    path: "/v1/chat/completions",
    digest: "",
  };
  const { answer } = pool.decide({ ...asked, promptBytes: 40_000, bodyBytes: 40_000, arrivedAtMs: 2_000 }, 2_000, () => {});
  expect(answer).toMatchObject({ type: "replica", replica: "decodes", prefill: { replica: "prefills" } });
  expect(minted.map(({ expiresAtMs }) => expiresAtMs)).toEqual([17_000, 17_000]);
});
