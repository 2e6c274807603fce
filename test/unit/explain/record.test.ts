import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import { decodeRecord, encodeRecord, explain, replay, type EncodedRecord } from "../../../src/explain/record.ts";
import { PROFILES } from "../../../src/decision/profiles.ts";
import { anyDraw, anyRequest, anyView } from "../decision/views.ts";

describe("replay", () => {
  it("decides the same again, from memory and from JSON, whatever the view", () => {
    fc.assert(
      fc.property(
        anyView,
        anyRequest,
        fc.constantFrom(...Object.values(PROFILES)),
        anyDraw,
        fc.nat(),
        (view, asked, profile, draw, turn) => {
          const decision = decide(view, asked, profile, draw, turn);
          const kept = explain({ id: "r", attempt: 1, tenant: "t", decidedAtMs: 1, view, request: asked, profile, draw, turn, decision });
          expect(replay(kept)).toEqual(decision);
          const stored = decodeRecord(JSON.parse(JSON.stringify(encodeRecord(kept))) as EncodedRecord);
          // JSON has no -0; it decides as 0 does.
          expect(JSON.stringify(replay(stored))).toBe(JSON.stringify(decision));
        },
      ),
      { seed: 23, numRuns: process.env["WARMPATH_FULL"] === undefined ? 500 : 10_000 },
    );
  });
});
